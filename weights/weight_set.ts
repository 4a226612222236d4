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
  type RoundedPart,
} from "./quant_load.ts";
import type { StoredTensor } from "./safetensors.ts";

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
/** Tensors under way at once: while one is read, another is converted, and the GPU works on what has arrived. */
const LANES = 2;

/** What all cursors of one checkpoint share. */
export class WeightSet {
  readonly gpu: Gpu;
  readonly checkpoint: Checkpoint;
  readonly taken = new Set<string>();
  readonly rounded = new Map<string, RoundedPart>();
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
    const formats = this.#quantization?.formats;
    if (names.some(([path]) => this.checkpoint.tensors.has(companions(path).scales))) {
      return this.#declareStored(names, [O, C], formats?.[role]);
    }
    const wanted = formats && (formats[role] ?? "int8");
    if (!wanted || C % GROUP !== 0) return this.declare(names, shape, undefined, {});
    const sources = names.map(([path, stored]) => this.#take(path, stored)).filter((source) => source !== undefined);
    const matrix = this.#make(wanted, [O, C]);
    let first = 0;
    for (const [path, [rows = 0]] of names) {
      this.rounded.set(path, { format: wanted, matrix, first, rows });
      first += rows;
    }
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
    const matrix = QuantizedTensor.empty(
      this.gpu,
      format,
      [O, Math.ceil(C / GROUP) * GROUP],
      this.#quantization?.activations,
    );
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
    const jobs = this.#jobs.sort((a, b) => byPlace(a.sources[0], b.sources[0])).values();
    this.#jobs = [];
    let loaded = 0;
    const onArrival = (bytes: number): void => {
      loaded += bytes;
      onProgress?.(loaded, total);
    };
    const failed = new AbortController();
    const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    const lanes = Array.from({ length: this.gpu.device ? LANES : 0 }, () => {
      const pump = new Pump(this.gpu, this.checkpoint, stop, onArrival);
      return { pump, matrices: new MatrixPump(pump, this.checkpoint, stop, this.#quantization) };
    });
    try {
      this.check();
      await Promise.all(
        lanes.map(async ({ pump, matrices }) => {
          try {
            for (const job of jobs) await ("matrix" in job ? matrices.run(job) : pump.run(job));
            await matrices.settled();
          } catch (error) {
            failed.abort(error); // the first one; the other lanes end with it
          }
        }),
      );
      failed.signal.throwIfAborted();
      await this.gpu.settled();
    } catch (error) {
      this.release();
      throw error;
    } finally {
      for (const { matrices } of lanes) matrices.release();
      await this.checkpoint.folder.close();
    }
    const clamped = lanes.reduce((sum, { pump }) => sum + pump.clamped, 0);
    if (clamped > 0)
      onWarning?.(`${clamped} weights are beyond the f16 range and became ±65504; --dtype f32 keeps them`);
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
