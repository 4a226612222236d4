import { ShapeError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { type Shape, showShape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/**
 * How a matrix is quantised: in groups of 32 inputs of one output, each with a half-precision scale.
 *
 * - `int4`: codes 0 to 15, weight = scale · (code − 8); the scale has a sign. 4.5 bits a weight
 * - `int4-affine`: codes 0 to 15, weight = scale · code + offset, a half too. 5 bits
 * - `int8`: codes −127 to 127, weight = scale · code. 8.5 bits
 */
export type QuantFormat = (typeof QUANT_FORMATS)[number];

export const QUANT_FORMATS = ["int4", "int4-affine", "int8"] as const;

/**
 * What a matrix may be multiplied with: `float`, the inputs as they are; `int8`, products with many rows may round their inputs to
 * 8 bits, where the adapter multiplies those faster. Answers change a little by it.
 */
export type Activations = "float" | "int8";

/** Inputs that share a scale. */
export const GROUP = 32;
/** Outputs whose words alternate in memory. */
const LANES = 8;

export const CODE_BITS: Readonly<Record<QuantFormat, number>> = { int4: 4, "int4-affine": 4, int8: 8 };

/** Sizes of a quantised matrix in GPU memory. */
export interface QuantLayout {
  /** Blocks of 8 outputs. */
  readonly blocks: number;
  /** Vectors of four words of codes per output, a whole number of pairs of groups. */
  readonly units: number;
  /** Words of scales per output. */
  readonly words: number;
}

/** The sizes of a matrix [O, C]; the groups of an output are padded to an even number. */
export function quantLayout(format: QuantFormat, [O = 0, C = 0]: Shape): QuantLayout {
  const pairs = Math.ceil(C / GROUP / 2);
  return {
    blocks: Math.ceil(O / LANES),
    units: pairs * 2 * (CODE_BITS[format] / 4),
    words: format === "int4-affine" ? pairs * 2 : pairs,
  };
}

/**
 * A weight matrix [O, C] of small integers, C a multiple of 32.
 *
 * The words of 8 outputs alternate, so that neighbouring threads, which compute neighbouring outputs, read neighbouring words:
 *
 *     codes   u32 [O/8, units, 8, 4]   code c of an output: unit c/32 (int8: c/16), word by word from the low bits up
 *     scales  u32 [O/8, words, 8]      two halves: scales of groups 2i and 2i + 1, or (int4-affine) scale and offset of group i
 */
export class QuantizedTensor {
  readonly format: QuantFormat;
  readonly shape: readonly [O: number, C: number];
  readonly codes: Tensor;
  readonly scales: Tensor;
  /** int8: products with many rows may round their inputs to 8 bits, where the adapter multiplies those faster. */
  readonly activations: Activations;

  /**
   * @param activations what its inputs may become. Default "float"
   * @throws ShapeError when the tensors do not have the sizes of `quantLayout`
   */
  constructor(
    format: QuantFormat,
    shape: readonly [O: number, C: number],
    codes: Tensor,
    scales: Tensor,
    activations: Activations = "float",
  ) {
    const { blocks, units, words } = quantLayout(format, shape);
    const fits = codes.size === blocks * units * LANES * 4 && scales.size === blocks * words * LANES;
    if (shape[1] % GROUP !== 0 || !fits) {
      throw new ShapeError(
        `${format} matrix ${showShape(shape)}: expected rows of multiples of ${GROUP} and ${blocks * units * LANES * 4} words of codes, got ${codes.size}`,
      );
    }
    this.format = format;
    this.shape = shape;
    this.codes = codes;
    this.scales = scales;
    this.activations = activations;
  }

  /** An uninitialised matrix. */
  static empty(
    gpu: Gpu,
    format: QuantFormat,
    shape: readonly [O: number, C: number],
    activations: Activations = "float",
  ): QuantizedTensor {
    const { blocks, units, words } = quantLayout(format, shape);
    const codes = gpu.empty([blocks, units, LANES, 4], "u32");
    const scales = gpu.empty([blocks, words, LANES], "u32");
    return new QuantizedTensor(format, shape, codes, scales, activations);
  }

  get gpu(): Gpu {
    return this.codes.gpu;
  }

  get bytes(): number {
    return this.codes.bytes + this.scales.bytes;
  }

  /** Outputs `from` (a multiple of 8) to `to`; no data moves. */
  rows(from: number, to: number): QuantizedTensor {
    const [O, C] = this.shape;
    if (!(from % LANES === 0 && from >= 0 && from <= to && to <= O)) {
      throw new ShapeError(`rows: expected a range within 0…${O} from a multiple of ${LANES}, got ${from}…${to}`);
    }
    const [first, end] = [from / LANES, Math.ceil(to / LANES)];
    const [codes, scales] = [this.codes.rows(first, end), this.scales.rows(first, end)];
    return new QuantizedTensor(this.format, [to - from, C], codes, scales, this.activations);
  }

  /** Frees the memory. */
  release(): void {
    this.gpu.release(this.codes);
    this.gpu.release(this.scales);
  }
}

/** A weight matrix [O, C], of numbers or of codes. */
export type Matrix = Tensor | QuantizedTensor;
