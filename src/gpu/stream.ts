import { GpuError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { BindGroups, ParamRing, SLOT_BYTES } from "./bindings.ts";
import type { Profiler } from "./profile.ts";
import type { Stopwatch } from "./stopwatch.ts";
import type { Packer } from "./wgsl.ts";

/** A compiled kernel, specialised for element types and constants. */
export interface Variant {
  readonly label: string;
  readonly layout: GPUBindGroupLayout;
  pipeline: GPUComputePipeline | null;
}

/** The commands recorded since the last submit: one encoder, and within it one compute pass as long as nothing is copied. */
export class CommandStream {
  readonly params: ParamRing;
  readonly groups: BindGroups;
  /** Number of command buffers submitted so far. */
  submits = 0;
  /** Times the next submit when set. */
  stopwatch: Stopwatch | null = null;
  readonly #device: GPUDevice;
  readonly #profiler: Profiler | null;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  /** The pass's pipeline. */
  #pipeline: GPUComputePipeline | null = null;
  readonly #offset = [0];

  constructor(device: GPUDevice, profiler: Profiler | null) {
    this.#device = device;
    this.#profiler = profiler;
    this.params = new ParamRing(device);
    this.groups = new BindGroups(device, this.params.binding);
  }

  /** The encoder, outside of any pass: for copies. */
  get encoder(): GPUCommandEncoder {
    this.#endPass();
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  /** Appends one kernel run to the open pass. */
  dispatch(
    variant: Variant,
    tensors: readonly (Tensor | undefined)[],
    pack: Packer,
    params: Readonly<Record<string, number>>,
    [x, y, z]: readonly [number, number, number],
  ): void {
    if (!variant.pipeline) throw new GpuError(`kernel ${variant.label}: its pipeline is still being compiled`);
    if (this.params.isFull) this.submit();
    const slot = this.params.push(pack, params);
    this.#pass ??= this.encoder.beginComputePass(this.#profiler?.pass(variant.label) ?? this.stopwatch?.pass);
    if (this.#pipeline !== variant.pipeline) this.#pass.setPipeline(variant.pipeline);
    this.#pipeline = variant.pipeline;
    this.#offset[0] = slot * SLOT_BYTES;
    this.#pass.setBindGroup(0, this.groups.get(variant.layout, tensors, slot), this.#offset);
    // Every argument that is passed costs a conversion.
    if (y === 1 && z === 1) this.#pass.dispatchWorkgroups(x);
    else this.#pass.dispatchWorkgroups(x, y, z);
    if (!this.#profiler) return;
    this.#endPass();
    if (this.#profiler.isFull) this.submit();
  }

  submit(): void {
    if (!this.#encoder) return;
    this.#endPass();
    this.params.upload();
    this.#profiler?.resolve(this.#encoder);
    this.stopwatch?.resolve(this.#encoder);
    this.#device.queue.submit([this.#encoder.finish()]);
    this.#profiler?.collect();
    this.#encoder = null;
    this.submits++;
  }

  /** Forgets what was recorded. */
  discard(): void {
    this.#encoder = null;
    this.#pass = null;
    this.#pipeline = null;
    this.params.reset();
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
    this.#pipeline = null;
  }
}
