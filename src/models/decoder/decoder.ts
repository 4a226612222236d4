import { embed } from "../../../kernels/embed.ts";
import { linear } from "../../../kernels/linear.ts";
import { rmsNorm } from "../../../kernels/rms_norm.ts";
import type { Weights } from "../../../weights/weights.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { DType, Tensor } from "../../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";
import { KvCache } from "./kv_cache.ts";
import { DecoderLayer } from "./layer.ts";
import { RopeTables } from "./rope.ts";

/**
 * A decoder-only language model: Phi-3, Phi-4, Phi-4-mini or Qwen2, by its configuration.
 *
 * The residual stream is f32 whatever the weights are: activations of models trained in bfloat16 outgrow f16.
 */
export class Decoder {
  readonly config: DecoderConfig;
  readonly rope: RopeTables;
  readonly #gpu: Gpu;
  readonly #embedding: Tensor;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: Tensor;
  readonly #head: Tensor;

  /**
   * @param w    at the module that holds `embed_tokens`, `layers` and `norm`
   * @param head at the module that holds `weight` of the output head; absent when it is the embedding
   */
  constructor(w: Weights, head: Weights | undefined, config: DecoderConfig) {
    const { vocabSize: V, hiddenSize: D } = config;
    this.#gpu = w.gpu;
    this.config = config;
    this.rope = new RopeTables(w.gpu, config);
    this.#embedding = w.tensor("embed_tokens.weight", [V, D]);
    this.#layers = Array.from({ length: config.layers }, (_, i) => {
      return new DecoderLayer(w.at("layers").at(i), config, `layer.${i}`);
    });
    this.#norm = w.tensor("norm.weight", [D], { dtype: "f32" });
    this.#head = head ? head.tensor("weight", [V, D]) : this.#embedding;
  }

  cache(capacity: number, dtype: DType): KvCache {
    return new KvCache(this.#gpu, this.config, capacity, dtype);
  }

  /** Token ids u32 [T] → embeddings f32 [T, D] */
  embed(ids: Tensor): Tensor {
    return embed(ids, this.#embedding, "f32");
  }

  /**
   * Embeddings [T, D] → normalised hidden states [T, D]; appends T tokens to the cache.
   *
   * @param contextLength tokens that will be in the cache once the whole prompt is read: LongRoPE rotates all by it
   */
  forward(x: Tensor, cache: KvCache, contextLength = cache.length + x.dims("T D").T): Tensor {
    const { T } = x.dims("T D");
    const rope = this.rope.table(contextLength);
    const layers = this.#layers.map((layer, i) => (h: Tensor) => layer.forward(h, rope, cache.layer(i)));
    const h = this.#gpu.through(x, layers);
    cache.length += T;
    return this.#gpu.mark("final_norm", rmsNorm(h, this.#norm, this.config.normEps));
  }

  /** Hidden states [T, D] → logits f32 [T, V] */
  logits(h: Tensor): Tensor {
    return linear(h, this.#head, { dtype: "f32" });
  }
}
