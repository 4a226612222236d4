import { GpuError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Packer } from "./wgsl.ts";

/** Bytes of one parameter slot: the strictest uniform-offset alignment a device may ask for. */
const SLOT_BYTES = 256;
export const SLOT_WORDS = SLOT_BYTES / 4;
const SLOTS = 4096;
/** Every new prompt length brings new buffers; past this many cached groups the cache starts over. */
const MAX_GROUPS = 16384;

/**
 * One uniform buffer shared by all kernels, in slots. Runs of a kernel whose parameters are equal share a slot within a submit: a
 * decode step has over a hundred runs, and a handful of slots.
 */
export class Params {
  readonly #queue: GPUQueue;
  readonly #buffer: GPUBuffer;
  readonly #words = new Uint32Array(SLOT_WORDS * SLOTS);
  readonly #floats = new Float32Array(this.#words.buffer);
  /** Slots of each kernel since the last upload. */
  readonly #slots = new Map<Packer, number[]>();
  #used = 0;

  constructor(device: GPUDevice) {
    this.#queue = device.queue;
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    this.#buffer = device.createBuffer({ label: "params", size: SLOT_BYTES * SLOTS, usage: UNIFORM | COPY_DST });
  }

  /** Slots filled since the last upload. */
  get used(): number {
    return this.#used;
  }

  get isFull(): boolean {
    return this.#used === SLOTS;
  }

  /** What kernels bind. */
  binding(slot: number): GPUBufferBinding {
    return { buffer: this.#buffer, offset: slot * SLOT_BYTES, size: SLOT_BYTES };
  }

  /** The number of a slot that holds these parameters. */
  push(packer: Packer, params: Readonly<Record<string, number>>): number {
    const slot = this.#used;
    packer.write(params, this.#words, this.#floats, slot * SLOT_WORDS);
    const slots = this.#slots.get(packer);
    if (!slots) this.#slots.set(packer, [slot]);
    else {
      const known = slots.find((other) => this.#areEqual(other, slot, packer.names.length));
      if (known !== undefined) return known;
      slots.push(slot);
    }
    return this.#used++;
  }

  /** The words of all slots filled since the last upload. */
  words(): Uint32Array {
    return this.#words.slice(0, this.#used * SLOT_WORDS);
  }

  /** Fills the first slots; none may have been filled since the last upload. */
  fill(words: Uint32Array): void {
    this.#words.set(words);
    this.#used = words.length / SLOT_WORDS;
  }

  /** Sends the slots used since the last upload. Call right before the submit that reads them. */
  upload(): void {
    if (this.#used > 0) this.#queue.writeBuffer(this.#buffer, 0, this.#words, 0, this.#used * SLOT_WORDS);
    this.reset();
  }

  reset(): void {
    this.#used = 0;
    this.#slots.clear();
  }

  #areEqual(a: number, b: number, words: number): boolean {
    for (let i = 0; i < words; i++) {
      if (this.#words[a * SLOT_WORDS + i] !== this.#words[b * SLOT_WORDS + i]) return false;
    }
    return true;
  }
}

/** A group, and what it binds: three numbers for each tensor, and a slot of parameters. */
interface Bound {
  readonly layout: GPUBindGroupLayout;
  readonly slot: number;
  readonly ranges: readonly number[];
  readonly group: GPUBindGroup;
}

/** Bind groups by layout, buffer ranges and slot; a repeated forward pass finds all of its groups here. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #params: Params;
  readonly #cache = new Map<GPUBindGroupLayout, Map<string, Bound>>();
  /** What each run of a pass bound last: in a repeated pass, what it binds again. */
  readonly #recent: Bound[] = [];
  readonly #absent: GPUBuffer;
  #count = 0;
  created = 0;

  /** @param params one slot is bound behind the tensors */
  constructor(device: GPUDevice, params: Params) {
    this.#device = device;
    this.#params = params;
    this.#absent = device.createBuffer({ label: "absent", size: 256, usage: GPUBufferUsage.STORAGE });
  }

  /**
   * The group that binds `tensors` in order, and the parameters; an absent optional tensor is bound to a small buffer nobody reads.
   *
   * @param slot of the parameters
   * @param run  how many there were before in this pass
   */
  get(layout: GPUBindGroupLayout, tensors: readonly (Tensor | undefined)[], slot: number, run: number): GPUBindGroup {
    const recent = this.#recent[run];
    if (recent && recent.layout === layout && recent.slot === slot && binds(recent.ranges, tensors))
      return recent.group;
    const bound = this.#find(layout, tensors, slot);
    this.#recent[run] = bound;
    return bound.group;
  }

  clear(): void {
    this.#cache.clear();
    this.#recent.length = 0;
    this.#count = 0;
  }

  #find(layout: GPUBindGroupLayout, tensors: readonly (Tensor | undefined)[], slot: number): Bound {
    const ranges = tensors.flatMap((tensor) => rangeOf(tensor));
    const key = [slot, ...ranges].join();
    const cached = this.#cache.get(layout)?.get(key);
    if (cached) return cached;
    if (this.#count === MAX_GROUPS) this.clear();
    this.#count++;
    this.created++;
    const resources = [...tensors.map((tensor) => this.#range(tensor)), this.#params.binding(slot)];
    const entries = resources.map((resource, binding) => ({ binding, resource }));
    const bound = { layout, slot, ranges, group: this.#device.createBindGroup({ layout, entries }) };
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
