import { embed } from "../../../kernels/embed.ts";
import { linear } from "../../../kernels/linear.ts";
import { type Norm, rmsNorm } from "../../../kernels/rms_norm.ts";
import { pickRotaryAttention } from "../../../kernels/rotary_attention.ts";
import type { Weights } from "../../../weights/weights.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { Matrix } from "../../tensor/quantized.ts";
import { type DType, expectShape, type Tensor } from "../../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";
import { KvCache } from "./kv_cache.ts";
import { DecoderLayer, lastRow, type Rows } from "./layer.ts";
import { RopeTables } from "./rope.ts";

/** Consecutive rows of a pass that continue one sequence. */
export interface Span {
  /** What came before; the rows are appended. */
  readonly cache: KvCache;
  readonly tokens: number;
  /** Tokens that will be in the cache once the whole prompt is read: LongRoPE rotates all by it. Default: with these */
  readonly contextLength?: number | undefined;
}

/**
 * A decoder-only language model: Phi-3, Phi-4, Phi-4-mini or Qwen2, by its configuration.
 *
 * The residual stream is f32 whatever the weights are: activations of models trained in bfloat16 outgrow f16.
 */
export class Decoder {
  readonly config: DecoderConfig;
  readonly rope: RopeTables;
  readonly #gpu: Gpu;
  readonly #embedding: Matrix;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: Norm;
  readonly #head: Matrix;

  /**
   * @param w    at the module that holds `embed_tokens`, `layers` and `norm`
   * @param head at the module that holds `weight` of the output head; absent when it is the embedding
   */
  constructor(w: Weights, head: Weights | undefined, config: DecoderConfig) {
    const { vocabSize: V, hiddenSize: D } = config;
    this.#gpu = w.gpu;
    this.config = config;
    this.rope = new RopeTables(w.gpu, config);
    this.#embedding = w.matrix("embed_tokens.weight", [V, D], "table");
    this.#layers = Array.from({ length: config.layers }, (_, i) => {
      return new DecoderLayer(w.at("layers").at(i), config, `layer.${i}`);
    });
    this.#norm = { weight: w.tensor("norm.weight", [D], { dtype: "f32" }), eps: config.normEps };
    this.#head = head ? head.matrix("weight", [V, D], "table") : this.#embedding;
  }

  cache(capacity: number, dtype: DType): KvCache {
    return new KvCache(this.#gpu, this.config, capacity, dtype);
  }

  /** Tokens that the context holds: the model's positions, or what the adapter can bind of a cache. */
  contextLimit(dtype: DType): number {
    return KvCache.limit(this.#gpu, this.config, dtype);
  }

  /** Token ids u32 [T] → embeddings f32 [T, D] */
  embed(ids: Tensor): Tensor {
    return embed(ids, this.#embedding, "f32");
  }

  /**
   * Embeddings [T, D] → hidden states [T, D]; appends T tokens to the cache.
   *
   * @param contextLength tokens that will be in the cache once the whole prompt is read
   */
  forward(x: Tensor, cache: KvCache, contextLength?: number): Tensor {
    return this.forwardSpans(x, [{ cache, tokens: x.dims("T D").T, contextLength }]);
  }

  /**
   * Embeddings [T, D] → the hidden state of the last token, [1, D]; appends T tokens to the cache. Of the last layer, only what
   * that takes is computed.
   *
   * @param contextLength tokens that will be in the cache once the whole prompt is read
   */
  last(x: Tensor, cache: KvCache, contextLength?: number): Tensor {
    return this.#pass(x, [{ cache, tokens: x.dims("T D").T, contextLength }], true);
  }

  /**
   * The rows of several sequences in one pass: [R, D] → hidden states [R, D], each row as if its sequence ran alone. Caches
   * must have room, and rope tables must have been made: neither is possible within a pass.
   *
   * @param spans one after another, R rows in all
   */
  forwardSpans(x: Tensor, spans: readonly Span[]): Tensor {
    return this.#pass(x, spans, false);
  }

  /**
   * What the kernel runs of a pass that appends one token to `cache` depend on, besides the parameter `start`, which is the tokens
   * before it: they are the same as long as all of this is. Undefined where they depend on more.
   */
  stepState(cache: KvCache): readonly unknown[] | undefined {
    const { headDim } = this.config;
    const variant = pickRotaryAttention({ tokens: 1, headDim, start: cache.length }, this.#gpu.adapter);
    return variant === "two" ? undefined : [variant, cache.layer(0), this.rope.table(cache.length + 1)];
  }

  /** @param last only the last row is wanted, of a single span */
  #pass(x: Tensor, spans: readonly Span[], last: boolean): Tensor {
    let row = 0;
    const sequences = spans.map(({ cache, tokens, contextLength = cache.length + tokens }) => {
      const rope = this.rope.table(contextLength);
      row += tokens;
      return { cache, rows: { rope, start: cache.length, row: row - tokens, tokens } };
    });
    expectShape("decoder: x", x, [row, this.config.hiddenSize]);
    const { recorder } = this.#gpu;
    // A recorder wants to see every row.
    const isShort = last && row > 1 && !recorder;
    const layers = this.#layers.map((layer, i) => (h: Tensor) => {
      const own = sequences.map(({ cache, rows }): Rows => ({ ...rows, ...cache.layer(i) }));
      return isShort && i === this.#layers.length - 1 ? layer.last(h, own[0]!) : layer.forward(h, own);
    });
    const h = this.#gpu.through(x, layers);
    for (const { cache, rows } of sequences) cache.length += rows.tokens;
    if (recorder) this.#gpu.mark("final_norm", rmsNorm(h, this.#norm.weight, this.#norm.eps));
    return last && !isShort ? lastRow(h) : h;
  }

  /** Hidden states [T, D], which the last norm is taken of, → logits f32 [T, V] */
  logits(h: Tensor): Tensor {
    return linear(h, this.#head, { norm: this.#norm, dtype: "f32" });
  }
}
