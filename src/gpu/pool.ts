import { GpuError } from "../errors.ts";

/** Where there is no WebGPU, engines run dry. */
const NO_USAGES = { STORAGE: 0, UNIFORM: 0, COPY_SRC: 0, COPY_DST: 0 };

/** One GPU allocation. `id` is stable for the life of the buffer and keys the bind-group cache. */
export interface Block {
  readonly id: number;
  /** Absent while rehearsing: shapes and sizes are real, memory is not. */
  readonly buffer: GPUBuffer | null;
  readonly bytes: number;
  /** When it was last given back, in gives so far. */
  freed: number;
  /** Whether it waits for whom it serves next. */
  isFree: boolean;
  /** False when the device may have refused to make it: then it serves nobody again. */
  isSound: boolean;
}

/**
 * Hands out storage buffers and takes them back.
 *
 * Of the free blocks of a size the one with the lowest id is taken, so a forward pass that repeats the same sequence of
 * operations from the same state receives the same buffers each time; the bind-group cache relies on that.
 */
export class Pool {
  readonly #device: GPUDevice | null;
  readonly #maxBytes: number;
  readonly #free = new Map<number, Block[]>();
  /** Blocks that no finished work has used yet: a device that is out of memory says so later. */
  #young: Block[] = [];
  /** Blocks that serve nobody again. Commands that are not submitted yet may use them. */
  #doomed: Block[] = [];
  #gives = 0;
  static #nextId = 1;
  /** Bytes of all blocks that exist, in use or free. */
  allocatedBytes = 0;
  /** Bytes of the blocks in use. */
  usedBytes = 0;
  /** Largest value `allocatedBytes` has had. */
  peakBytes = 0;
  /** Number of buffers ever made. */
  allocations = 0;

  /** @param device absent for a pool that only counts @param maxBytes the largest buffer the device makes */
  constructor(device: GPUDevice | null, maxBytes: number) {
    this.#device = device;
    this.#maxBytes = maxBytes;
  }

  take(bytes: number): Block {
    const size = sizeClass(bytes);
    const block = this.#free.get(size)?.pop() ?? this.#create(size);
    block.isFree = false;
    this.usedBytes += block.bytes;
    return block;
  }

  give(block: Block): void {
    if (block.isFree) throw new GpuError("a tensor was released twice");
    block.isFree = true;
    this.usedBytes -= block.bytes;
    if (!block.isSound) {
      this.#doomed.push(block);
      return;
    }
    block.freed = ++this.#gives;
    const stack = this.#free.get(block.bytes) ?? [];
    this.#free.set(block.bytes, stack);
    // Highest id first, so that pop() takes the lowest.
    let at = stack.length;
    while (at > 0 && stack[at - 1]!.id < block.id) at--;
    stack.splice(at, 0, block);
  }

  /** Destroys free blocks, those that have lain longest first, until the rest fit. Commands that use them must have been submitted. */
  trim(maxFreeBytes: number): void {
    for (const block of this.#doomed.splice(0)) this.#destroy(block);
    const oldest = [...this.#free.values()].flat().sort((a, b) => a.freed - b.freed);
    for (const block of oldest) {
      if (this.freeBytes <= maxFreeBytes) return;
      const stack = this.#free.get(block.bytes)!;
      stack.splice(stack.indexOf(block), 1);
      this.#destroy(block);
    }
  }

  /** Learns that all work submitted before block `id` was made has been done, and nothing was refused. */
  prove(id: number): void {
    if (this.#young.length > 0) this.#young = this.#young.filter((block) => block.id >= id);
    for (const block of this.#doomed.splice(0)) this.#destroy(block);
  }

  /** Learns that something was refused: of the blocks made since the last proof, none serves anybody again. */
  distrust(): void {
    for (const block of this.#young.splice(0)) {
      block.isSound = false;
      if (!block.isFree) continue;
      const stack = this.#free.get(block.bytes)!;
      stack.splice(stack.indexOf(block), 1);
      this.#destroy(block);
    }
  }

  /** What the next block will be called. */
  static get nextId(): number {
    return Pool.#nextId;
  }

  get freeBytes(): number {
    return this.allocatedBytes - this.usedBytes;
  }

  #create(bytes: number): Block {
    if (bytes > this.#maxBytes) {
      throw new GpuError(
        `a tensor of ${bytes} bytes: expected at most ${this.#maxBytes}, the adapter's largest buffer`,
        {
          hint: "Use --dtype f16 or a smaller model or image size.",
        },
      );
    }
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = globalThis.GPUBufferUsage ?? NO_USAGES;
    const buffer = this.#device?.createBuffer({ size: bytes, usage: STORAGE | UNIFORM | COPY_SRC | COPY_DST }) ?? null;
    this.allocatedBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.allocatedBytes);
    this.allocations++;
    const block = { id: Pool.#nextId++, buffer, bytes, freed: 0, isFree: false, isSound: true };
    if (buffer) this.#young.push(block);
    return block;
  }

  #destroy({ buffer, bytes }: Block): void {
    buffer?.destroy();
    this.allocatedBytes -= bytes;
  }
}

/** Smallest step between sizes, and below which size it is the step: activations of one token are mostly that small. */
const STEP = 256;
const SMALL = 16 * STEP;

/** Rounds up to an eighth of a power of two: at most 12.5 % slack, few distinct sizes. */
export function sizeClass(bytes: number): number {
  if (bytes < SMALL) return Math.max(1, Math.ceil(bytes / STEP)) * STEP;
  const step = 2 ** Math.floor(Math.log2(bytes)) / 8;
  return Math.ceil(bytes / step) * step;
}
