import type { Gpu } from "../../gpu/gpu.ts";
import { BYTES, type DType, type Tensor } from "../../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";

/** Capacities are multiples of this many tokens, so that conversations of similar length share buffers. */
const PAGE = 256;
/** A full cache grows by half of itself, so that copying costs less than two passes over its final size. */
const GROWTH = 1.5;

/** One layer's share of the cache. */
export interface LayerCache {
  /** [S, Nkv·Dh], rotated */
  readonly keys: Tensor;
  /** [S, Nkv·Dh] */
  readonly values: Tensor;
}

/** Keys and values of every token of one sequence. */
export class KvCache {
  /** Tokens in the cache. Lower it to forget the last ones. */
  length = 0;
  readonly gpu: Gpu;
  readonly #width: number;
  readonly #dtype: DType;
  /** Most tokens it may hold. */
  readonly #limit: number;
  readonly #count: number;
  #capacity = 0;
  #layers: readonly LayerCache[] = [];

  /**
   * @param capacity tokens there is room for at once; 0 takes no memory
   * @param dtype    element type of keys and values
   */
  constructor(gpu: Gpu, config: DecoderConfig, capacity: number, dtype: DType) {
    this.gpu = gpu;
    this.#width = config.kvHeads * config.headDim;
    this.#dtype = dtype;
    this.#limit = KvCache.limit(gpu, config, dtype);
    this.#count = config.layers;
    if (capacity > 0) this.#resize(capacity);
  }

  /** Tokens that one cache can hold at most: the model's positions, or what the adapter can bind. */
  static limit(gpu: Gpu, { maxPositions, kvHeads, headDim }: DecoderConfig, dtype: DType): number {
    return Math.min(maxPositions, Math.floor(gpu.maxBindingBytes / (kvHeads * headDim * BYTES[dtype])));
  }

  /** Tokens there is room for. */
  get capacity(): number {
    return this.#capacity;
  }

  get bytes(): number {
    return 2 * this.#count * this.#capacity * this.#width * BYTES[this.#dtype];
  }

  /**
   * Makes room for `length` tokens. Call outside of any scope, before the pass that writes them.
   *
   * Whole layers are copied on the GPU, one at a time: a step that needs no room allocates nothing, and one that does needs
   * little more memory than the larger cache.
   */
  reserve(length: number): void {
    if (length <= this.#capacity) return;
    const grown = Math.max(length, this.#capacity * GROWTH);
    this.#resize(Math.max(length, Math.min(this.#limit, Math.ceil(grown / PAGE) * PAGE)));
  }

  layer(index: number): LayerCache {
    return this.#layers[index]!;
  }

  /** Frees the memory; `reserve` may take new memory. */
  free(): void {
    for (const { keys, values } of this.#layers) {
      this.gpu.release(keys);
      this.gpu.release(values);
    }
    this.#layers = [];
    this.#capacity = 0;
    this.length = 0;
  }

  #resize(capacity: number): void {
    this.#layers = Array.from({ length: this.#count }, (_, i) => ({
      keys: this.#moved(this.#layers[i]?.keys, capacity),
      values: this.#moved(this.#layers[i]?.values, capacity),
    }));
    this.#capacity = capacity;
  }

  #moved(from: Tensor | undefined, capacity: number): Tensor {
    const to = this.gpu.empty([capacity, this.#width], this.#dtype);
    if (!from) return to;
    if (this.length > 0) this.gpu.copy(from.rows(0, this.length), to);
    this.gpu.release(from);
    return to;
  }
}
