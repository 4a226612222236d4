import { GpuError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { BindGroups, Params } from "./bindings.ts";
import type { Profiler } from "./profile.ts";
import type { Stopwatch } from "./stopwatch.ts";
import type { Run, Tape } from "./tape.ts";
import type { Packer } from "./wgsl.ts";

/** A compiled kernel, specialised for element types and constants. */
export interface Variant {
  readonly label: string;
  readonly layout: GPUBindGroupLayout;
  pipeline: GPUComputePipeline | null;
}

/** Runs after which a GPU that has nothing to do gets what there is: encoding as many takes a few hundred microseconds. */
const HEAD_START = 32;

/** The commands recorded since the last submit: one encoder, and within it one compute pass as long as nothing is copied. */
export class CommandStream {
  readonly params: Params;
  readonly groups: BindGroups;
  /** Number of command buffers submitted so far. */
  submits = 0;
  /** Times the next submit when set. */
  stopwatch: Stopwatch | null = null;
  /** Whether nothing is submitted before it is asked for, so that it can be timed. */
  isTimed = false;
  readonly #device: GPUDevice;
  readonly #profiler: Profiler | null;
  readonly #isParallel: boolean;
  /** Whether the GPU is known to have nothing to do. */
  #isIdle = false;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  /** The pass's pipeline. */
  #pipeline: GPUComputePipeline | null = null;
  /** Runs since the last submit that was asked for. */
  #runs = 0;
  /** Remembers what is encoded when set. */
  #tape: Tape | null = null;

  /** @param isParallel the GPU works while the host does */
  constructor(device: GPUDevice, profiler: Profiler | null, isParallel: boolean) {
    this.#device = device;
    this.#profiler = profiler;
    this.#isParallel = isParallel;
    this.params = new Params(device);
    this.groups = new BindGroups(device, this.params);
  }

  /** The encoder, outside of any pass: for copies. */
  get encoder(): GPUCommandEncoder {
    this.#tape?.spoil();
    this.#endPass();
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  /** Appends one kernel run to the open pass. */
  dispatch(
    variant: Variant,
    tensors: readonly (Tensor | undefined)[],
    packer: Packer,
    params: Readonly<Record<string, number>>,
    workgroups: readonly [number, number, number],
  ): void {
    const { pipeline } = variant;
    if (!pipeline) throw new GpuError(`kernel ${variant.label}: its pipeline is still being compiled`);
    if (this.params.isFull) this.submit();
    const slot = this.params.push(packer, params);
    const run = { pipeline, group: this.groups.get(variant.layout, tensors, slot, this.#runs), workgroups };
    this.#encode(this.#open(variant.label), run);
    this.#runs++;
    this.#tape?.add(run, slot, packer.names);
    if (this.#profiler) {
      this.#endPass();
      if (this.#profiler.isFull) this.submit();
    } else if (this.#runs === HEAD_START && this.#isIdle && !this.isTimed && !this.#tape) this.#send();
  }

  /** Remembers on `tape` what `body` encodes. */
  record(tape: Tape, body: () => void): void {
    if (this.params.used > 0) this.submit(); // replays fill the slots from the first on
    this.#tape = tape;
    try {
      body();
    } finally {
      this.#tape = null;
    }
    tape.end(this.params.words());
  }

  /** Says that something happens that cannot be repeated. */
  spoil(): void {
    this.#tape?.spoil();
  }

  /** Appends the runs of a tape, with these parameters. */
  replay({ runs }: Tape, parameters: Uint32Array): void {
    if (this.params.used > 0) this.submit();
    this.params.fill(parameters);
    const pass = this.#open("replay");
    for (let i = 0; i < runs.length; i++) this.#encode(pass, runs[i]!);
  }

  submit(): void {
    this.#send();
    this.#runs = 0;
  }

  /** Notes that the GPU has nothing to do once what was submitted is `done`, unless more has been submitted by then. */
  async idleAfter<Result>(done: Promise<Result>): Promise<Result> {
    const { submits } = this;
    const result = await done;
    this.#isIdle = this.#isParallel && submits === this.submits;
    return result;
  }

  /** Forgets what was recorded, and what it was to bind. */
  discard(): void {
    this.#tape?.spoil();
    this.#profiler?.discard();
    this.groups.clear();
    this.#encoder = null;
    this.#pass = null;
    this.#pipeline = null;
    this.#runs = 0;
    this.params.reset();
  }

  #send(): void {
    if (!this.#encoder) return;
    this.#tape?.spoil(); // its slots start over
    this.#endPass();
    this.params.upload();
    this.#profiler?.resolve(this.#encoder);
    this.stopwatch?.resolve(this.#encoder);
    this.#device.queue.submit([this.#encoder.finish()]);
    this.#profiler?.collect();
    this.#encoder = null;
    this.#isIdle = false;
    this.submits++;
  }

  #open(label: string): GPUComputePassEncoder {
    if (this.#pass) return this.#pass;
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#pass = this.#encoder.beginComputePass(this.#profiler?.pass(label) ?? this.stopwatch?.pass);
    return this.#pass;
  }

  #encode(pass: GPUComputePassEncoder, { pipeline, group, workgroups: [x, y, z] }: Run): void {
    if (this.#pipeline !== pipeline) pass.setPipeline(pipeline);
    this.#pipeline = pipeline;
    pass.setBindGroup(0, group);
    // Every argument that is passed costs a conversion.
    if (y === 1 && z === 1) pass.dispatchWorkgroups(x);
    else pass.dispatchWorkgroups(x, y, z);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
    this.#pipeline = null;
  }
}
