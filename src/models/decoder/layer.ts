import { causalAttention } from "../../../kernels/causal_attention.ts";
import { linear, linearSwiglu } from "../../../kernels/linear.ts";
import { type Norm, rmsNorm } from "../../../kernels/rms_norm.ts";
import { ropeAndCache } from "../../../kernels/rope_kv.ts";
import { rotaryAttention } from "../../../kernels/rotary_attention.ts";
import { swiglu } from "../../../kernels/swiglu.ts";
import type { Weights } from "../../../weights/weights.ts";
import type { Matrix } from "../../tensor/quantized.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";
import type { LayerCache } from "./kv_cache.ts";

/** Rows of a pass that belong to one sequence, and the sequence's cache. */
export interface Rows extends LayerCache {
  /** Rotary angles, [P, rotaryDim] */
  readonly rope: Tensor;
  /** Tokens in the cache before this pass: the position of the first of these rows. */
  readonly start: number;
  /** First of these rows. */
  readonly row: number;
  readonly tokens: number;
}

/**
 * One decoder layer of Phi-3/Phi-4 and Qwen2: two pre-norm branches on a residual stream.
 *
 *     h = x + attention(norm₁(x))
 *     y = h + mlp(norm₂(h))
 */
export class DecoderLayer {
  readonly #norm1: Norm;
  readonly #attention: Attention;
  readonly #norm2: Norm;
  readonly #mlp: GatedMlp;
  readonly #name: string;

  constructor(w: Weights, config: DecoderConfig, name: string) {
    const norm = (key: string): Norm => {
      return { weight: w.tensor(`${key}.weight`, [config.hiddenSize], { dtype: "f32" }), eps: config.normEps };
    };
    this.#name = name;
    this.#norm1 = norm("input_layernorm");
    this.#attention = new Attention(w.at("self_attn"), config, `${name}.self_attn`);
    this.#norm2 = norm("post_attention_layernorm");
    this.#mlp = new GatedMlp(w.at("mlp"), config, `${name}.mlp`);
  }

  /** [T, D] → [T, D]; appends the rows of each sequence to its cache. */
  forward(x: Tensor, sequences: readonly Rows[]): Tensor {
    const { gpu } = x;
    gpu.mark(`${this.#name}.in`, x);
    const h = this.#attention.forward(this.#normed("input_layernorm", x, this.#norm1), x, sequences);
    return this.#rest(h);
  }

  /** [T, D] → [1, D], the last row of what `forward` gives: all rows get into the cache, and only the last looks at it. */
  last(x: Tensor, sequence: Rows): Tensor {
    return this.#rest(this.#attention.last({ x, norm: this.#norm1 }, x, sequence));
  }

  #rest(h: Tensor): Tensor {
    return h.gpu.mark(
      `${this.#name}.out`,
      this.#mlp.forward(this.#normed("post_attention_layernorm", h, this.#norm2), h),
    );
  }

  /** The norm is left to the product that reads it, which may do both at once; but a recorder wants to see it. */
  #normed(name: string, x: Tensor, norm: Norm): Normed {
    if (!x.gpu.recorder) return { x, norm };
    return { x: x.gpu.mark(`${this.#name}.${name}`, rmsNorm(x, norm.weight, norm.eps)) };
  }
}

/** What a branch reads: `norm(x)`, or `x` where the norm has been taken. */
interface Normed {
  readonly x: Tensor;
  readonly norm?: Norm;
}

/** Grouped-query attention (arXiv 2305.13245): N query heads share Nkv key and value heads. */
class Attention {
  readonly #config: DecoderConfig;
  readonly #qkv: Matrix;
  readonly #bias: Tensor | undefined;
  readonly #out: Matrix;
  readonly #name: string;

  constructor(w: Weights, config: DecoderConfig, name: string) {
    const { hiddenSize: D, heads, kvHeads, headDim } = config;
    const rows = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
    const width = rows[0]! + rows[1]! + rows[2]!;
    this.#config = config;
    this.#name = name;
    this.#qkv = config.fused
      ? w.matrix("qkv_proj.weight", [width, D])
      : w.matrices(
          ["q_proj.weight", "k_proj.weight", "v_proj.weight"],
          rows.map((r) => [r, D]),
        );
    this.#bias = config.attentionBias
      ? w.concat(
          ["q_proj.bias", "k_proj.bias", "v_proj.bias"],
          rows.map((r) => [r]),
          { dtype: "f32" },
        )
      : undefined;
    this.#out = w.matrix("o_proj.weight", [D, heads * headDim]);
  }

  /** [T, D] → [T, D], `residual` added */
  forward({ x, norm }: Normed, residual: Tensor, sequences: readonly Rows[]): Tensor {
    const { heads, kvHeads, headDim, rotaryDim } = this.#config;
    const { gpu } = x;
    const qkv = linear(x, this.#qkv, { norm, bias: this.#bias }); // [T, (N + 2·Nkv)·Dh]
    gpu.mark(`${this.#name}.qkv_proj`, qkv);
    const mixed = qkv.like([qkv.shape[0]!, heads * headDim]);
    for (const { rope, keys, values, start, row, tokens } of sequences) {
      const layout = { heads, kvHeads, headDim, rotaryDim, start, row, tokens };
      rotaryAttention(qkv, rope, keys, values, layout, mixed);
    }
    gpu.mark(`${this.#name}.attn_out`, mixed);
    return linear(mixed, this.#out, { residual });
  }

  /** [T, D] → [1, D], of the last row */
  last({ x, norm }: Normed, residual: Tensor, { rope, keys, values, start, row, tokens }: Rows): Tensor {
    const { heads, kvHeads, headDim, rotaryDim } = this.#config;
    const qkv = linear(x, this.#qkv, { norm, bias: this.#bias }); // [T, (N + 2·Nkv)·Dh]
    const mixed = qkv.like([qkv.shape[0]!, heads * headDim]);
    const layout = { heads, kvHeads, headDim, rotaryDim, start, row, tokens };
    ropeAndCache(qkv, rope, keys, values, layout);
    const before = tokens - 1;
    causalAttention(qkv, keys, values, { ...layout, start: start + before, row: row + before, tokens: 1 }, mixed);
    return linear(lastRow(mixed), this.#out, { residual: lastRow(residual) }); // [1, D]
  }
}

/** [T, C] → [1, C], in memory of its own: offsets into a tensor must suit the adapter. */
export function lastRow(x: Tensor): Tensor {
  const { T, C } = x.dims("T C");
  const last = x.like([1, C]);
  x.gpu.copy(x.rows(T - 1, T), last);
  return last;
}

/** SwiGLU feed-forward (arXiv 2002.05202): `down(up(x) · silu(gate(x)))`. */
class GatedMlp {
  readonly #gateUp: Matrix;
  readonly #down: Matrix;
  readonly #name: string;

  constructor(w: Weights, { hiddenSize: D, intermediateSize: I, fused }: DecoderConfig, name: string) {
    this.#name = name;
    this.#gateUp = fused
      ? w.matrix("gate_up_proj.weight", [2 * I, D])
      : w.matrices(
          ["gate_proj.weight", "up_proj.weight"],
          [
            [I, D],
            [I, D],
          ],
        );
    this.#down = w.matrix("down_proj.weight", [D, I]);
  }

  /** [T, D] → [T, D], `residual` added */
  forward({ x, norm }: Normed, residual: Tensor): Tensor {
    const { gpu } = x;
    // A recorder wants to see gates and ups.
    const inner = gpu.recorder
      ? swiglu(gpu.mark(`${this.#name}.gate_up_proj`, linear(x, this.#gateUp, { norm })))
      : linearSwiglu(x, this.#gateUp, norm); // [T, I]
    return linear(inner, this.#down, { residual });
  }
}
