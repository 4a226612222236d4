import { ropeTable } from "../../../kernels/rope_table.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";

/** Tables of at least this many positions, so that a growing context seldom needs a new one. */
const MIN_POSITIONS = 512;

/**
 * Cosines and sines of rotary positions (arXiv 2104.09864), and LongRoPE's two regimes of them (arXiv 2402.13753):
 * a forward pass that reaches past the original context length rotates *all* its positions with the long factors.
 */
export class RopeTables {
  readonly #gpu: Gpu;
  readonly #config: DecoderConfig;
  readonly #tables = new Map<"short" | "long", Tensor>();

  constructor(gpu: Gpu, config: DecoderConfig) {
    this.#gpu = gpu;
    this.#config = config;
  }

  /** Which factors a context of `length` tokens is rotated with. */
  regime(length: number): "short" | "long" {
    const { longRope } = this.#config;
    return longRope && length > longRope.original ? "long" : "short";
  }

  /**
   * [P, rotaryDim] with P ≥ `length`; made when first needed. Call before the pass that uses it: it uploads.
   *
   * @param renews makes it anew where the GPU may have refused the memory. Never within a pass, which the new one would die with
   */
  table(length: number, renews = false): Tensor {
    const regime = this.regime(length);
    const known = this.#tables.get(regime);
    if (known && known.shape[0]! >= length && (known.block.isSound || !renews)) return known;
    const { rotaryDim, ropeTheta: theta, longRope } = this.#config;
    const positions = Math.max(MIN_POSITIONS, 2 ** Math.ceil(Math.log2(length)));
    const factors = longRope?.[regime];
    const attentionFactor = longRope?.attentionFactor ?? 1;
    const data = ropeTable({ positions, rotaryDim, theta, attentionFactor, ...(factors && { factors }) });
    const table = this.#gpu.upload([positions, rotaryDim], "f32", data);
    if (known) this.#gpu.release(known);
    this.#tables.set(regime, table);
    return table;
  }
}
