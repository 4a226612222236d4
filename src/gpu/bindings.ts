import { GpuError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Bytes of one parameter slot: the strictest uniform-offset alignment a device may ask for. */
const SLOT_BYTES = 256;
const SLOTS = 4096;
/** Every new prompt length brings new buffers; past this many cached groups the cache starts over. */
const MAX_GROUPS = 16384;

/** One uniform buffer shared by all kernels: each dispatch gets a slot, addressed by a dynamic offset. */
export class ParamRing {
  readonly layout: GPUBindGroupLayout;
  readonly group: GPUBindGroup;
  readonly #queue: GPUQueue;
  readonly #buffer: GPUBuffer;
  readonly #staging = new Uint8Array(SLOT_BYTES * SLOTS);
  #used = 0;

  constructor(device: GPUDevice) {
    this.#queue = device.queue;
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    this.#buffer = device.createBuffer({ label: "params", size: SLOT_BYTES * SLOTS, usage: UNIFORM | COPY_DST });
    this.layout = device.createBindGroupLayout({
      label: "params",
      entries: [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform", hasDynamicOffset: true } },
      ],
    });
    this.group = device.createBindGroup({
      label: "params",
      layout: this.layout,
      entries: [{ binding: 0, resource: { buffer: this.#buffer, size: SLOT_BYTES } }],
    });
  }

  get isFull(): boolean {
    return this.#used === SLOTS;
  }

  /** Takes the next slot and returns its offset. */
  push(params: Uint8Array): number {
    const offset = this.#used++ * SLOT_BYTES;
    this.#staging.set(params, offset);
    return offset;
  }

  /** Sends the slots used since the last upload. Call right before the submit that reads them. */
  upload(): void {
    if (this.#used > 0) this.#queue.writeBuffer(this.#buffer, 0, this.#staging, 0, this.#used * SLOT_BYTES);
    this.#used = 0;
  }

  reset(): void {
    this.#used = 0;
  }
}

/** Bind groups by layout and buffer ranges; a repeated forward pass finds all of its groups here. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #cache = new Map<GPUBindGroupLayout, Map<string, GPUBindGroup>>();
  readonly #absent: GPUBuffer;
  #count = 0;
  created = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#absent = device.createBuffer({ label: "absent", size: 256, usage: GPUBufferUsage.STORAGE });
  }

  /** The group that binds `tensors` in order; an absent optional tensor is bound to a small buffer nobody reads. */
  get(layout: GPUBindGroupLayout, tensors: readonly (Tensor | undefined)[]): GPUBindGroup {
    let key = "";
    for (const t of tensors) key += t ? `${t.block.id}+${t.offset}:${t.bytes},` : "-,";
    const cached = this.#cache.get(layout)?.get(key);
    if (cached) return cached;
    if (this.#count === MAX_GROUPS) this.clear();
    this.#count++;
    this.created++;
    const entries = tensors.map((tensor, binding) => ({ binding, resource: this.#range(tensor) }));
    const group = this.#device.createBindGroup({ layout, entries });
    const groups = this.#cache.get(layout) ?? new Map<string, GPUBindGroup>();
    this.#cache.set(layout, groups.set(key, group));
    return group;
  }

  clear(): void {
    this.#cache.clear();
    this.#count = 0;
  }

  /** Exactly the bytes of the tensor (rounded up to a vec4), so that bounds checks work for us. */
  #range(tensor: Tensor | undefined): GPUBufferBinding {
    if (!tensor) return { buffer: this.#absent };
    const { buffer } = tensor.block;
    if (!buffer) throw new GpuError("a tensor made while rehearsing was used in a real pass");
    return { buffer, offset: tensor.offset, size: Math.max(16, Math.ceil(tensor.bytes / 16) * 16) };
  }
}
