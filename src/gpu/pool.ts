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
    this.usedBytes += block.bytes;
    return block;
  }

  give(block: Block): void {
    this.usedBytes -= block.bytes;
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
    const oldest = [...this.#free.values()].flat().sort((a, b) => a.freed - b.freed);
    for (const block of oldest) {
      if (this.freeBytes <= maxFreeBytes) return;
      block.buffer?.destroy();
      this.allocatedBytes -= block.bytes;
      const stack = this.#free.get(block.bytes)!;
      stack.splice(stack.indexOf(block), 1);
    }
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
    return { id: Pool.#nextId++, buffer, bytes, freed: 0 };
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
