import { GpuError } from "../errors.ts";
import { fromHalfArray } from "../tensor/half.ts";
import { type Shape, showShape, sizeOf } from "../tensor/shape.ts";
import { BYTES, type DType, Tensor } from "../tensor/tensor.ts";
import { Choices } from "./choices.ts";
import { type AdapterSummary, DRY_ADAPTER, type OpenDevice, openDevice } from "./device.ts";
import { Guard } from "./guard.ts";
import { type Compiled, loadShaders } from "./kernel.ts";
import { Memory, type MemoryUse } from "./memory.ts";
import { Profiler } from "./profile.ts";
import { Readback, type Wait } from "./readback.ts";
import { timed } from "./stopwatch.ts";
import { CommandStream, type Variant } from "./stream.ts";
import { Tape } from "./tape.ts";
import { tableFor } from "./tuned.ts";
import type { Packer } from "./wgsl.ts";

/** Receives the intermediate results that models `mark`; see `Gpu.recorder`. */
export type Recorder = (name: string, tensor: Tensor) => void;

/**
 * A GPU device with its memory, pipelines and command stream. Nobody above it touches encoders, buffers or the queue.
 *
 * Operations run eagerly as far as the caller sees: shapes are checked at the call and one dispatch is appended to the
 * open compute pass, which `flush`, `read` and `write` submit. A GPU that has nothing to do gets the first runs earlier.
 *
 * Failures that the GPU reports late (validation, memory, a lost device) are thrown by the next call, and by every wait for the GPU
 * that was on: all that overlaps fails, and nothing takes what was never computed for a result.
 */
export class Gpu {
  readonly device: GPUDevice | null;
  readonly adapter: AdapterSummary;
  readonly maxBindingBytes: number;
  readonly maxWorkgroups: number;
  readonly variants = new Map<string, Variant>();
  /** The same by kernel, found without their names. */
  readonly compiled = new Map<object, Compiled[]>();
  readonly layouts = new Map<string, GPUBindGroupLayout>();
  readonly profiler: Profiler | null;
  /** Which of a kernel's variants runs. */
  readonly choices: Choices;
  /** Fills every new tensor with NaN (as f32 and as f16), so a kernel that skips an element is caught. For tests. */
  poison = false;
  /** When set, models hand it their intermediate results by name. The tensor is valid only during the call. */
  recorder: Recorder | null = null;
  /** Number of kernel runs encoded so far. */
  dispatches = 0;

  readonly #stream: CommandStream | null;
  readonly #readback: Readback | null;
  readonly #guard: Guard;
  readonly #memory: Memory;
  #compiling: Promise<void>[] | null = null;

  /** Use `Gpu.open`; without a device the engine only checks shapes and counts memory (see `Gpu.dry`). */
  constructor(open: OpenDevice | null, options: { profile?: boolean } = {}) {
    const device = open?.device ?? null;
    this.device = device;
    this.adapter = open?.adapter ?? DRY_ADAPTER;
    this.choices = new Choices(tableFor(this.adapter));
    this.maxBindingBytes = Math.floor((device?.limits.maxStorageBufferBindingSize ?? 2 ** 27) / 256) * 256;
    this.maxWorkgroups = device?.limits.maxComputeWorkgroupsPerDimension ?? 65535;
    this.#memory = new Memory(device, device?.limits.maxBufferSize ?? Number.MAX_SAFE_INTEGER);
    this.#readback = open && new Readback(open.device, open.wait);
    this.profiler = device && options.profile ? new Profiler(device) : null;
    this.#stream = device && new CommandStream(device, this.profiler, !this.adapter.software);
    this.#guard = new Guard(device, this.#memory, this.#stream);
  }

  /**
   * Opens a device on the adapter and loads the shaders.
   *
   * @param options.wait    how to wait for the GPU; the default suits browsers
   * @param options.profile times every kernel run when the adapter has timestamps. Default false
   */
  static async open(adapter: GPUAdapter, options: { wait?: Wait; profile?: boolean } = {}): Promise<Gpu> {
    const [open] = await Promise.all([openDevice(adapter, options.wait), loadShaders()]);
    return new Gpu(open, { profile: options.profile === true && open.adapter.timestamps });
  }

  /** An engine without a GPU: forward passes check every shape and count bytes, and compute nothing. */
  static dry(): Gpu {
    return new Gpu(null);
  }

  get isDry(): boolean {
    return this.device === null || this.#compiling !== null;
  }

  /** Bytes in GPU buffers now, and the most there have been. */
  get memory(): MemoryUse {
    return this.#memory.use;
  }

  /** Number of failures that the GPU has reported so far. */
  get failures(): number {
    return this.#guard.failures;
  }

  /** Number of command buffers submitted so far. */
  get submits(): number {
    return this.#stream?.submits ?? 0;
  }

  get bindGroupsCreated(): number {
    return this.#stream?.groups.created ?? 0;
  }

  /** A new, uninitialised tensor. Made in a scope it dies with it; made outside it lives until `release`. */
  empty(shape: Shape, dtype: DType): Tensor {
    this.#guard.check();
    const block = this.#memory.take(sizeOf(shape) * BYTES[dtype]);
    if (this.poison && block.buffer) {
      this.flush();
      this.device?.queue.writeBuffer(block.buffer, 0, new Uint32Array(block.bytes / 4).fill(0x7fc07e00));
    }
    return new Tensor(this, block, shape, dtype);
  }

  /** Copies host data into a new tensor; `data` is padded to a multiple of 4 bytes when needed. */
  upload(shape: Shape, dtype: DType, data: ArrayBufferView<ArrayBuffer>): Tensor {
    const expected = sizeOf(shape) * BYTES[dtype];
    if (data.byteLength !== expected) {
      throw new GpuError(`upload: expected ${expected} bytes for ${dtype} ${showShape(shape)}, got ${data.byteLength}`);
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const words = bytes.length % 4 === 0 ? bytes : new Uint8Array(Math.ceil(bytes.length / 4) * 4);
    if (words !== bytes) words.set(bytes);
    const tensor = this.empty(shape, dtype);
    try {
      this.write(tensor, 0, words);
      return tensor;
    } catch (error) {
      this.release(tensor);
      throw error;
    }
  }

  /**
   * Overwrites part of a tensor. Submits recorded work first: queue writes would otherwise overtake it.
   *
   * @param byteOffset multiple of 4, from the start of the tensor
   * @param bytes      length a multiple of 4
   */
  write(tensor: Tensor, byteOffset: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.flush();
    this.#guard.check();
    this.#stream?.spoil();
    if (tensor.block.buffer) this.device?.queue.writeBuffer(tensor.block.buffer, tensor.offset + byteOffset, bytes);
  }

  /** A copy that outlives the current scopes. */
  keep(tensor: Tensor): Tensor {
    const copy = this.#memory.outside(() => this.empty(tensor.shape, tensor.dtype));
    this.copy(tensor, copy);
    return copy;
  }

  /** Copies the elements of `from` to the start of `to`. */
  copy(from: Tensor, to: Tensor): void {
    if (from.dtype !== to.dtype || from.bytes > to.bytes) {
      throw new GpuError(
        `copy: expected room for ${from.bytes} bytes of ${from.dtype}, got ${to.bytes} of ${to.dtype}`,
      );
    }
    if (!from.block.buffer || !to.block.buffer || this.isDry) return;
    this.#stream?.encoder.copyBufferToBuffer(
      from.block.buffer,
      from.offset,
      to.block.buffer,
      to.offset,
      Math.ceil(from.bytes / 4) * 4,
    );
  }

  /**
   * Runs `body` and frees every tensor made inside it except those it returns.
   *
   * Freed memory is reused by the very next operation, which is safe because dispatches run in order.
   */
  scope<Result extends Tensor | readonly Tensor[] | undefined>(body: () => Result): Result {
    return this.#memory.scope(body, (result) => {
      const kept: readonly Tensor[] = result instanceof Tensor ? [result] : (result ?? []);
      return kept.map(({ block }) => block);
    });
  }

  /** Feeds `x` through the layers in turn, each in its own scope; only the current activation stays alive. */
  through(x: Tensor, layers: readonly ((x: Tensor) => Tensor)[]): Tensor {
    return layers.reduce((input, layer, i) => {
      const output = this.scope(() => layer(input));
      if (i > 0 && output.block !== input.block) this.release(input);
      return output;
    }, x);
  }

  /** Frees a tensor made outside any scope, or one of the current scope that is no longer needed. */
  release(tensor: Tensor): void {
    this.#memory.give(tensor.block);
  }

  /** Gives freed memory beyond `maxFreeBytes` back to the driver, first what has been of no use for longest. */
  trim(maxFreeBytes = 0): void {
    if (this.#memory.freeBytes <= maxFreeBytes || this.isDry) return;
    this.flush();
    this.#memory.trim(maxFreeBytes);
    this.#stream?.groups.clear();
  }

  /** Hands an intermediate result to the recorder, if there is one. Returns it, so that it can wrap an expression. */
  mark(name: string, tensor: Tensor): Tensor {
    if (this.recorder && !this.isDry) this.recorder(name, tensor);
    return tensor;
  }

  /**
   * Runs `body` without computing anything, and compiles in parallel every pipeline it asks for.
   *
   * @returns the most memory the tensors made in `body` needed at once, in bytes
   */
  async rehearse(body: () => Tensor | readonly Tensor[] | undefined): Promise<number> {
    const compiling: Promise<void>[] = [];
    let peak: number;
    this.#compiling = compiling;
    try {
      peak = this.#memory.counting(body);
    } finally {
      this.#compiling = null;
    }
    await Promise.all(compiling);
    return peak;
  }

  /** Appends one kernel run to the open pass. Called by `kernel.run`. */
  encode(
    variant: Variant,
    tensors: readonly (Tensor | undefined)[],
    packer: Packer,
    params: Readonly<Record<string, number>>,
    workgroups: readonly [number, number, number],
  ): void {
    if (this.isDry || !this.#stream) return;
    this.#guard.check();
    this.#stream.dispatch(variant, tensors, packer, params, workgroups);
    this.dispatches++;
  }

  /**
   * Encodes `body`, and returns its kernel runs for `replay`; undefined where they cannot be repeated, because it also copies or
   * writes, or because each run is timed. It returns no tensors. Those that were there before, and that it reads or writes, must be
   * there for as long as the tape is replayed; those that it makes take memory that only tapes share, one after another.
   *
   * @param varying names of parameters that every replay gives values of its own
   */
  tape(body: () => void, varying: readonly string[]): Tape | undefined {
    const tape = new Tape(varying);
    const stream = this.isDry || this.profiler ? null : this.#stream;
    this.#memory.reserving(() => {
      if (stream) stream.record(tape, body);
      else body();
    });
    return tape.isWhole ? tape : undefined;
  }

  /** Encodes the runs of a tape, as they were but for the parameters that vary. */
  replay(tape: Tape, values: Readonly<Record<string, number>>): void {
    this.#guard.check();
    this.#stream?.replay(tape, tape.parameters(values));
    this.dispatches += tape.runs.length;
  }

  /** Remembers a compilation started while rehearsing. Returns false when compilation must finish at once. */
  defer(compile: () => Promise<void>): boolean {
    if (!this.#compiling) return false;
    this.#compiling.push(compile());
    return true;
  }

  /** Submits all recorded work. */
  flush(): void {
    if (this.#stream) this.#guard.check();
    this.#stream?.submit();
  }

  /** The elements of a tensor; f16 is widened. Submits recorded work. */
  async read(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    const bytes = await this.readBytes(tensor);
    if (tensor.dtype === "f16") return fromHalfArray(new Uint16Array(bytes, 0, tensor.size));
    return new Float32Array(bytes, 0, tensor.size);
  }

  /** The elements of a u32 tensor, such as token ids. Submits recorded work. */
  async readU32(tensor: Tensor): Promise<Uint32Array<ArrayBuffer>> {
    return new Uint32Array(await this.readBytes(tensor), 0, tensor.size);
  }

  async readBytes(tensor: Tensor): Promise<ArrayBuffer> {
    this.#guard.check();
    if (!this.#readback || !this.#stream || !tensor.block.buffer)
      throw new GpuError("read: this engine runs dry, it has no data");
    const since = this.failures;
    const copied = this.#readback.copy(this.#stream.encoder, tensor);
    this.#stream.submit();
    return this.#guard.wait(this.#stream.idleAfter(copied()), since, `reading ${tensor.bytes} bytes back`);
  }

  /**
   * Submits recorded work. Resolves when the GPU has done everything submitted so far.
   *
   * @param since throws what went wrong after so many failures. Default: from now on
   */
  async settled(since = this.failures): Promise<void> {
    this.#guard.check();
    if (!this.device || !this.#stream || !this.#readback) return;
    this.#stream.submit();
    const done = this.#readback.wait(this.device.queue.onSubmittedWorkDone());
    await this.#guard.wait(this.#stream.idleAfter(done), since, "waiting for the GPU");
  }

  /** Milliseconds that the GPU takes for the launches of `body`; see `timed`. */
  time(body: () => void): Promise<number> {
    return timed(this, this.#stream, body);
  }

  /** Destroys the device and all its memory. Safe to call twice. */
  close(): void {
    this.#guard.close();
    this.device?.destroy();
  }
}
