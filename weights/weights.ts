import { WeightError } from "../src/errors.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { GROUP, type Matrix, type QuantFormat, QuantizedTensor } from "../src/tensor/quantized.ts";
import { type Shape, sameShape, showShape } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { isFloat } from "./convert.ts";
import { type Compute, type Job, type Precision, Pump, type Source } from "./pump.ts";
import {
  companions,
  findStored,
  type MatrixJob,
  MatrixPump,
  type MatrixRole,
  type Quantization,
} from "./quant_load.ts";
import type { StoredTensor } from "./safetensors.ts";

export type { Compute, Precision } from "./pump.ts";
export type { Quantization } from "./quant_load.ts";

export interface TensorOptions {
  /** Element type on the GPU. Default: the cursor's */
  readonly dtype?: Precision;
}

export interface LoadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after every piece that arrives. */
  readonly onProgress?: ((loadedBytes: number, totalBytes: number) => void) | undefined;
  /** Receives what the caller should know but need not stop for, such as weights beyond the f16 range. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

const MAX_PROBLEMS_SHOWN = 20;

/**
 * A position in a checkpoint. `at("mlp")` steps into a module; `tensor("weight", shape)` declares one of its tensors, so
 * that a module's constructor reads as its part of the checkpoint.
 *
 * Declaring allocates at once and reads nothing: `load` then streams all data in file order through one small buffer. A
 * tensor that is missing, misshapen or not floating point is noted; `check` and `load` report all of them together.
 */
export class Weights {
  readonly gpu: Gpu;
  /** The position: canonical, dotted, empty at the root. */
  readonly path: string;
  readonly #set: WeightSet;
  readonly #rename: (path: string) => string;

  private constructor(set: WeightSet, path: string, rename: (path: string) => string) {
    this.gpu = set.gpu;
    this.path = path;
    this.#set = set;
    this.#rename = rename;
  }

  /**
   * @param dtype        element type of weights unless one asks for another; vectors usually ask for f32
   * @param quantization makes codes of every `matrix` of numbers. Default: they stay numbers
   */
  static of(gpu: Gpu, checkpoint: Checkpoint, dtype: Precision, quantization?: Quantization): Weights {
    return new Weights(new WeightSet(gpu, checkpoint, dtype, quantization), "", (path) => path);
  }

  at(name: string | number): Weights {
    return new Weights(this.#set, join(this.path, String(name)), this.#rename);
  }

  /**
   * A cursor at module `prefix` whose paths, from there on, are translated to the checkpoint's own names.
   *
   * @param rename canonical path below `prefix`, of a module or a tensor, to the name in the checkpoint
   */
  renamed(prefix: string, rename: (path: string) => string): Weights {
    const base = this.#real(prefix);
    return new Weights(this.#set, "", (path) => join(base, rename(path)));
  }

  /** Whether the checkpoint has a tensor or a module of this name here. */
  has(name: string): boolean {
    return this.#set.has(this.#real(name));
  }

  /** Declares the tensor `name`, stored as `shape`; `as` is the shape it gets here, of as many elements. */
  tensor(name: string, shape: Shape, { as, ...options }: TensorOptions & { readonly as?: Shape } = {}): Tensor {
    return this.#set.declare([[this.#real(name), shape]], as ?? shape, undefined, options);
  }

  /**
   * Declares the matrix `name` [O, C] of a layer that takes codes as well as numbers: quantised when it is stored so, or when
   * this set quantises. Rows that are no multiple of 32 stay numbers.
   */
  matrix(name: string, shape: Shape, role: MatrixRole = "linear"): Matrix {
    return this.#set.declareMatrix([[this.#real(name), shape]], shape, role);
  }

  /** Declares one matrix of several stored ones, joined by outputs, as `concat` does. */
  matrices(names: readonly string[], shapes: readonly Shape[]): Matrix {
    const rows = shapes.reduce((sum, [count = 0]) => sum + count, 0);
    const sources = names.map((name, i) => [this.#real(name), shapes[i] ?? []] as const);
    return this.#set.declareMatrix(sources, [rows, shapes[0]?.[1] ?? 0], "linear");
  }

  /** Declares one tensor of several stored ones, joined along the outermost axis: `[2, D]` and `[3, D]` give `[5, D]`. */
  concat(names: readonly string[], shapes: readonly Shape[], options: TensorOptions = {}): Tensor {
    const rows = shapes.reduce((sum, [count = 0]) => sum + count, 0);
    const sources = names.map((name, i) => [this.#real(name), shapes[i] ?? []] as const);
    return this.#set.declare(sources, [rows, ...(shapes[0] ?? []).slice(1)], undefined, options);
  }

  /**
   * Declares a tensor computed from stored ones, such as a fold or another memory layout.
   *
   * @param sources name and stored shape of each; `compute` gets them whole, so keep them small
   */
  computed(
    sources: readonly (readonly [name: string, stored: Shape])[],
    shape: Shape,
    compute: Compute,
    options: TensorOptions = {},
  ): Tensor {
    const real = sources.map(([name, stored]) => [this.#real(name), stored] as const);
    return this.#set.declare(real, shape, compute, options);
  }

  /** Names of tensors that no module asked for, less those `ignore` accepts; usually a sign of another architecture. */
  unused(ignore: (name: string) => boolean = () => false): string[] {
    const { checkpoint, taken } = this.#set;
    return [...checkpoint.tensors.keys()].filter((name) => !taken.has(name) && !ignore(name));
  }

  /** The stored matrices of numbers that become codes, by name: what `quantization` asked for. */
  get rounded(): ReadonlyMap<string, QuantFormat> {
    return this.#set.rounded;
  }

  /** Bytes in the checkpoint of everything declared and not loaded yet. */
  get pendingBytes(): number {
    return this.#set.pendingBytes;
  }

  /** @throws WeightError naming every declared tensor that the checkpoint lacks or holds in another shape or type */
  check(): void {
    this.#set.check();
  }

  /**
   * Reads everything declared so far. When it fails or is aborted, everything declared is released.
   *
   * @throws WeightError as `check`; CheckpointError when a file cannot be read; the signal's reason when aborted
   */
  load(options: LoadOptions = {}): Promise<void> {
    return this.#set.load(options);
  }

  /** Frees every tensor declared through this cursor and its relatives. */
  release(): void {
    this.#set.release();
  }

  #real(name: string): string {
    return this.#rename(join(this.path, name));
  }
}

/** What all cursors of one checkpoint share. */
class WeightSet {
  readonly gpu: Gpu;
  readonly checkpoint: Checkpoint;
  readonly taken = new Set<string>();
  readonly rounded = new Map<string, QuantFormat>();
  readonly #dtype: Precision;
  readonly #quantization: Quantization | undefined;
  readonly #made: Tensor[] = [];
  readonly #problems = new Set<string>();
  #jobs: (Job | MatrixJob)[] = [];
  #modules: Set<string> | undefined;

  constructor(gpu: Gpu, checkpoint: Checkpoint, dtype: Precision, quantization: Quantization | undefined) {
    this.gpu = gpu;
    this.checkpoint = checkpoint;
    this.#dtype = dtype;
    this.#quantization = quantization;
  }

  has(path: string): boolean {
    this.#modules ??= modulesOf(this.checkpoint.tensors.keys());
    return this.checkpoint.tensors.has(path) || this.#modules.has(path);
  }

  declare(
    names: readonly (readonly [path: string, stored: Shape])[],
    shape: Shape,
    compute: Compute | undefined,
    { dtype = this.#dtype }: TensorOptions,
  ): Tensor {
    const sources = names.map(([path, stored]) => this.#take(path, stored)).filter((source) => source !== undefined);
    const to = this.gpu.empty(shape, dtype);
    this.#made.push(to);
    if (sources.length === names.length) this.#jobs.push({ to, sources, compute });
    return to;
  }

  declareMatrix(
    names: readonly (readonly [path: string, stored: Shape])[],
    shape: readonly number[],
    role: MatrixRole,
  ): Matrix {
    const [O = 0, C = 0] = shape;
    const wanted = this.#quantization && (role === "table" ? "int8" : this.#quantization.format);
    if (names.some(([path]) => this.checkpoint.tensors.has(companions(path).scales))) {
      return this.#declareStored(names, [O, C], wanted);
    }
    if (!wanted || C % GROUP !== 0) return this.declare(names, shape, undefined, {});
    const sources = names.map(([path, stored]) => this.#take(path, stored)).filter((source) => source !== undefined);
    const matrix = this.#make(wanted, [O, C]);
    for (const [path] of names) this.rounded.set(path, wanted);
    if (sources.length === names.length) this.#jobs.push({ matrix, sources });
    return matrix;
  }

  /** Matrices that are codes already; all parts must be of one format. */
  #declareStored(
    names: readonly (readonly [path: string, stored: Shape])[],
    shape: readonly [number, number],
    wanted: QuantFormat | undefined,
  ): Matrix {
    const stored = names.flatMap(([path, partShape], i) => {
      const found = findStored(this.checkpoint, path, partShape) ?? "expected codes, as its scales are there";
      const { scales, offsets } = companions(path);
      for (const name of [path, scales, offsets]) this.taken.add(name);
      const isCut = i < names.length - 1 && partShape[0]! % 8 !== 0;
      if (typeof found !== "string" && !isCut) return [found];
      this.#problems.add(`${path}: ${isCut ? `expected a multiple of 8 outputs, got ${partShape[0]}` : found}`);
      return [];
    });
    const format = stored[0]?.format ?? wanted ?? "int4";
    const other = stored.find((part) => part.format !== (wanted ?? format));
    if (other) {
      this.#problems.add(
        `${other.codes.name}: expected ${wanted ?? format}, got ${other.format}; codes cannot be rounded again`,
      );
    }
    const matrix = this.#make(format, shape);
    const sources = stored.flatMap(({ codes, scales, offsets }) => [codes, scales, ...(offsets ? [offsets] : [])]);
    if (stored.length === names.length) this.#jobs.push({ matrix, sources, stored });
    return matrix;
  }

  #make(format: QuantFormat, [O, C]: readonly [number, number]): QuantizedTensor {
    // A misshapen one is a problem already noted; it needs some shape until that is thrown.
    const matrix = QuantizedTensor.empty(this.gpu, format, [O, Math.ceil(C / GROUP) * GROUP]);
    this.#made.push(matrix.codes, matrix.scales);
    return matrix;
  }

  get pendingBytes(): number {
    return this.#jobs
      .flatMap(({ sources }): readonly StoredTensor[] => sources)
      .reduce((sum, { start, end }) => sum + end - start, 0);
  }

  check(): void {
    const problems = [...this.#problems];
    if (problems.length === 0) return;
    const more = problems.length - MAX_PROBLEMS_SHOWN;
    const shown = [...problems.slice(0, MAX_PROBLEMS_SHOWN), ...(more > 0 ? [`and ${more} more`] : [])];
    const list = shown.length === 1 ? ` ${shown[0]}` : shown.map((line) => `\n  ${line}`).join("");
    throw new WeightError(`${this.checkpoint.name}:${list}`, {
      hint: "config.json and the weights belong to different models, or the download is incomplete.",
    });
  }

  async load({ signal, onProgress, onWarning }: LoadOptions): Promise<void> {
    const total = this.pendingBytes;
    const jobs = this.#jobs.sort((a, b) => byPlace(a.sources[0], b.sources[0]));
    this.#jobs = [];
    const pump = new Pump(this.gpu, this.checkpoint, signal, (loaded) => onProgress?.(loaded, total));
    const matrices = new MatrixPump(pump, this.checkpoint, signal, this.#quantization);
    try {
      this.check();
      if (this.gpu.device) for (const job of jobs) await ("matrix" in job ? matrices.run(job) : pump.run(job));
      await this.gpu.settled();
    } catch (error) {
      this.release();
      throw error;
    } finally {
      matrices.release();
      await this.checkpoint.folder.close();
    }
    if (pump.clamped > 0) {
      onWarning?.(`${pump.clamped} weights are beyond the f16 range and became ±65504; --dtype f32 keeps them`);
    }
  }

  release(): void {
    this.#jobs = [];
    for (const tensor of this.#made.splice(0)) this.gpu.release(tensor);
  }

  #take(path: string, shape: Shape): Source | undefined {
    const stored = this.checkpoint.tensors.get(path);
    const problem = !stored
      ? `not in the checkpoint (expected shape ${showShape(shape)})`
      : !sameShape(stored.shape, shape)
        ? `expected shape ${showShape(shape)}, got ${showShape(stored.shape)}`
        : !isFloat(stored.dtype) && `expected F32, F16 or BF16, got ${stored.dtype}`;
    this.taken.add(path);
    if (problem) this.#problems.add(`${path}: ${problem}`);
    return problem ? undefined : (stored as Source);
  }
}

const join = (path: string, name: string): string => (path && name ? `${path}.${name}` : path || name);

function modulesOf(names: Iterable<string>): Set<string> {
  const modules = new Set<string>();
  for (const name of names) {
    for (let dot = name.lastIndexOf("."); dot > 0; dot = name.lastIndexOf(".", dot - 1))
      modules.add(name.slice(0, dot));
  }
  return modules;
}

function byPlace(a: StoredTensor | undefined, b: StoredTensor | undefined): number {
  if (!a || !b) return 0;
  return a.file === b.file ? a.start - b.start : a.file < b.file ? -1 : 1;
}
