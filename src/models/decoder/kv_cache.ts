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
  readonly #layers: LayerCache[] = [];

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
    if (capacity === 0) return;
    try {
      this.#resize(capacity);
    } catch (error) {
      this.free();
      throw error;
    }
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
   * little more memory than the larger cache. The copies are submitted: a failure of others would discard what is only recorded.
   */
  reserve(length: number): void {
    if (length <= this.#capacity) return;
    const grown = Math.max(length, this.#capacity * GROWTH);
    this.#resize(Math.max(length, Math.min(this.#limit, Math.ceil(grown / PAGE) * PAGE)));
    if (this.length > 0) this.gpu.flush();
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
    this.#layers.length = 0;
    this.#capacity = 0;
    this.length = 0;
  }

  /** Should memory end midway, every layer still has all it had, and room for as many tokens. */
  #resize(capacity: number): void {
    for (let i = 0; i < this.#count; i++) {
      const before = this.#layers[i];
      const keys = this.gpu.empty([capacity, this.#width], this.#dtype);
      this.#layers[i] = { keys, values: this.#valuesBeside(keys) };
      if (before) this.#move(before, this.#layers[i]!);
    }
    this.#capacity = capacity;
  }

  #valuesBeside(keys: Tensor): Tensor {
    try {
      return keys.like(keys.shape);
    } catch (error) {
      this.gpu.release(keys);
      throw error;
    }
  }

  #move(from: LayerCache, to: LayerCache): void {
    for (const part of ["keys", "values"] as const) {
      if (this.length > 0) this.gpu.copy(from[part].rows(0, this.length), to[part]);
      this.gpu.release(from[part]);
    }
  }
}
