import { GpuError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Packer } from "./wgsl.ts";

/** Bytes of one parameter slot: the strictest uniform-offset alignment a device may ask for. */
export const SLOT_BYTES = 256;
export const SLOT_WORDS = SLOT_BYTES / 4;
const SLOTS = 4096;
/** Every new prompt length brings new buffers; past this many cached groups the cache starts over. */
const MAX_GROUPS = 16384;

/** One uniform buffer shared by all kernels: each dispatch gets a slot, addressed by a dynamic offset. */
export class ParamRing {
  /** What kernels bind, with the dynamic offset of their slot. */
  readonly binding: GPUBufferBinding;
  readonly #queue: GPUQueue;
  readonly #buffer: GPUBuffer;
  readonly #words = new Uint32Array(SLOT_WORDS * SLOTS);
  readonly #floats = new Float32Array(this.#words.buffer);
  #used = 0;

  constructor(device: GPUDevice) {
    this.#queue = device.queue;
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    this.#buffer = device.createBuffer({ label: "params", size: SLOT_BYTES * SLOTS, usage: UNIFORM | COPY_DST });
    this.binding = { buffer: this.#buffer, size: SLOT_BYTES };
  }

  /** Whether there is room for so many more. */
  fits(slots: number): boolean {
    return this.#used + slots <= SLOTS;
  }

  /** Fills the next slot and returns its number. */
  push(packer: Packer, params: Readonly<Record<string, number>>): number {
    packer.write(params, this.#words, this.#floats, this.#used * SLOT_WORDS);
    return this.#used++;
  }

  /** Fills the next slots with what such slots held before, and returns the number of the first. */
  append(words: Uint32Array): number {
    const first = this.#used;
    this.#words.set(words, first * SLOT_WORDS);
    this.#used += words.length / SLOT_WORDS;
    return first;
  }

  /** The words of a slot. */
  words(slot: number): Uint32Array {
    return this.#words.subarray(slot * SLOT_WORDS, (slot + 1) * SLOT_WORDS);
  }

  /** Sends the slots used since the last upload. Call right before the submit that reads them. */
  upload(): void {
    if (this.#used > 0) this.#queue.writeBuffer(this.#buffer, 0, this.#words, 0, this.#used * SLOT_WORDS);
    this.#used = 0;
  }

  reset(): void {
    this.#used = 0;
  }
}

/** A group, and what it binds: three numbers for each tensor. */
interface Bound {
  readonly layout: GPUBindGroupLayout;
  readonly ranges: readonly number[];
  readonly group: GPUBindGroup;
}

/** Bind groups by layout and buffer ranges; a repeated forward pass finds all of its groups here. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #params: GPUBufferBinding;
  readonly #cache = new Map<GPUBindGroupLayout, Map<string, Bound>>();
  /** What each slot of parameters went with last: in a repeated pass, what it goes with again. */
  readonly #recent: Bound[] = [];
  readonly #absent: GPUBuffer;
  #count = 0;
  created = 0;

  /** @param params bound behind the tensors */
  constructor(device: GPUDevice, params: GPUBufferBinding) {
    this.#device = device;
    this.#params = params;
    this.#absent = device.createBuffer({ label: "absent", size: 256, usage: GPUBufferUsage.STORAGE });
  }

  /**
   * The group that binds `tensors` in order, and the parameters; an absent optional tensor is bound to a small buffer nobody reads.
   *
   * @param slot of the parameters
   */
  get(layout: GPUBindGroupLayout, tensors: readonly (Tensor | undefined)[], slot: number): GPUBindGroup {
    const recent = this.#recent[slot];
    if (recent && recent.layout === layout && binds(recent.ranges, tensors)) return recent.group;
    const bound = this.#find(layout, tensors);
    this.#recent[slot] = bound;
    return bound.group;
  }

  clear(): void {
    this.#cache.clear();
    this.#recent.length = 0;
    this.#count = 0;
  }

  #find(layout: GPUBindGroupLayout, tensors: readonly (Tensor | undefined)[]): Bound {
    const ranges = tensors.flatMap((tensor) => rangeOf(tensor));
    const key = ranges.join();
    const cached = this.#cache.get(layout)?.get(key);
    if (cached) return cached;
    if (this.#count === MAX_GROUPS) this.clear();
    this.#count++;
    this.created++;
    const resources = [...tensors.map((tensor) => this.#range(tensor)), this.#params];
    const entries = resources.map((resource, binding) => ({ binding, resource }));
    const bound = { layout, ranges, group: this.#device.createBindGroup({ layout, entries }) };
    const groups = this.#cache.get(layout) ?? new Map<string, Bound>();
    this.#cache.set(layout, groups.set(key, bound));
    return bound;
  }

  /** Exactly the bytes of the tensor (rounded up to a vec4), so that bounds checks work for us. */
  #range(tensor: Tensor | undefined): GPUBufferBinding {
    if (!tensor) return { buffer: this.#absent };
    const { buffer } = tensor.block;
    if (!buffer) throw new GpuError("a tensor made while rehearsing was used in a real pass");
    return { buffer, offset: tensor.offset, size: Math.max(16, Math.ceil(tensor.bytes / 16) * 16) };
  }
}

const rangeOf = (tensor: Tensor | undefined): number[] =>
  tensor ? [tensor.block.id, tensor.offset, tensor.bytes] : [-1, 0, 0];

function binds(ranges: readonly number[], tensors: readonly (Tensor | undefined)[]): boolean {
  for (let i = 0; i < tensors.length; i++) {
    const tensor = tensors[i];
    if (ranges[3 * i] !== (tensor ? tensor.block.id : -1)) return false;
    if (tensor && (ranges[3 * i + 1] !== tensor.offset || ranges[3 * i + 2] !== tensor.bytes)) return false;
  }
  return true;
}
