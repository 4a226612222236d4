import { GpuError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { BindGroups, ParamRing } from "./bindings.ts";
import type { Profiler } from "./profile.ts";
import type { Stopwatch } from "./stopwatch.ts";

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

  constructor(device: GPUDevice, profiler: Profiler | null) {
    this.#device = device;
    this.#profiler = profiler;
    this.params = new ParamRing(device);
    this.groups = new BindGroups(device);
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
    params: Uint8Array,
    workgroups: readonly [number, number, number],
  ): void {
    if (!variant.pipeline) throw new GpuError(`kernel ${variant.label}: its pipeline is still being compiled`);
    if (this.params.isFull) this.submit();
    const offset = this.params.push(params);
    this.#pass ??= this.encoder.beginComputePass(this.#profiler?.pass(variant.label) ?? this.stopwatch?.pass);
    this.#pass.setPipeline(variant.pipeline);
    this.#pass.setBindGroup(0, this.groups.get(variant.layout, tensors));
    this.#pass.setBindGroup(1, this.params.group, [offset]);
    this.#pass.dispatchWorkgroups(...workgroups);
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
    this.params.reset();
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
  }
}
