import type { Gpu } from "../src/gpu/gpu.ts";
import type { Matrix } from "../src/tensor/quantized.ts";
import type { Shape } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Compute, Precision } from "./pump.ts";
import type { MatrixRole, Quantization, RoundedPart } from "./quant_load.ts";
import { type LoadOptions, type TensorOptions, WeightSet } from "./weight_set.ts";

export type { Compute, Precision } from "./pump.ts";
export type { QuantFormats, Quantization, RoundedPart } from "./quant_load.ts";
export type { LoadOptions, TensorOptions } from "./weight_set.ts";

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
   * @param quantization makes codes of every `matrix` of numbers, and says what may be multiplied with codes. Default: they
   *                     stay numbers, and inputs are as they are
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
  get rounded(): ReadonlyMap<string, RoundedPart> {
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

const join = (path: string, name: string): string => (path && name ? `${path}.${name}` : path || name);
