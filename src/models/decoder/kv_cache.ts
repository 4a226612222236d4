import type { Gpu } from "../../gpu/gpu.ts";
import type { DType, Tensor } from "../../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";

/** One layer's share of the cache, as attention needs it. */
export interface LayerCache {
  /** [S, Nkv·Dh], rotated */
  readonly keys: Tensor;
  /** [S, Nkv·Dh] */
  readonly values: Tensor;
  /** Tokens in the cache before this call: the position of the first new token. */
  readonly start: number;
}

/** Keys and values of every token seen so far, `capacity` tokens at most. */
export class KvCache {
  readonly capacity: number;
  /** Tokens in the cache. */
  length = 0;
  readonly #layers: readonly { keys: Tensor; values: Tensor }[];
  readonly #gpu: Gpu;

  constructor(gpu: Gpu, config: DecoderConfig, capacity: number, dtype: DType) {
    this.#gpu = gpu;
    this.capacity = capacity;
    const shape = [capacity, config.kvHeads * config.headDim];
    this.#layers = Array.from({ length: config.layers }, () => ({
      keys: gpu.empty(shape, dtype),
      values: gpu.empty(shape, dtype),
    }));
  }

  layer(index: number): LayerCache {
    return { ...this.#layers[index]!, start: this.length };
  }

  free(): void {
    for (const { keys, values } of this.#layers) {
      this.#gpu.release(keys);
      this.#gpu.release(values);
    }
  }
}
