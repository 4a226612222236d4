import type { Gpu } from "../gpu/gpu.ts";
import type { KvCache } from "../models/decoder/kv_cache.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import { BYTES, type Tensor } from "../tensor/tensor.ts";
import type { Slot } from "./picture.ts";

/** One place of a context: a token, or all the tokens of an image. */
export type ContextItem = number | Slot;

const tokensOf = (item: ContextItem): number => (typeof item === "number" ? 1 : item.tokens);
const same = (a: ContextItem, b: ContextItem): boolean =>
  typeof a === "number" || typeof b === "number" ? a === b : a.key === b.key;

/** Tokens of a context, those of images included. */
export const contextLength = (items: readonly ContextItem[]): number =>
  items.reduce<number>((sum, item) => sum + tokensOf(item), 0);

/** A prompt is read in parts of at most this many tokens, which bounds the activations and lets others in between. */
const MAX_PART = 1024;
const PART_STEP = 64;
/** Freed memory that is kept for later, at most, when a cache needs more. */
const KEPT_FREE_BYTES = 2 ** 30;

export interface ReadOptions {
  /** Tokens read in one pass. Default: what the adapter can bind, at most 1024 */
  readonly part?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each part with the tokens read so far. */
  readonly onPart?: ((tokens: number) => void) | undefined;
  /** Runs the recording of each part, such as with a recorder in place. */
  readonly during?: ((record: () => void) => void) | undefined;
}

/**
 * A context and what the KV cache holds of it: always a beginning of the context, so that a new context that begins alike
 * need not be read again.
 */
export class Sequence {
  readonly cache: KvCache;
  readonly #gpu: Gpu;
  readonly #model: FastVLMModel;
  #context: ContextItem[] = [];
  #length = 0;
  /** LongRoPE's factors that the cached keys were rotated with. */
  #regime: "short" | "long" = "short";

  constructor(model: FastVLMModel) {
    this.#gpu = model.gpu;
    this.#model = model;
    this.cache = model.decoder.cache(0, model.dtype);
  }

  /** Tokens of the context. */
  get length(): number {
    return this.#length;
  }

  /** Known tokens that the cache lacks. */
  get unread(): number {
    return this.#length - this.cache.length;
  }

  /**
   * Replaces the context and keeps what the cache has of its beginning, but for the last token: reading it is what gives
   * the next one.
   *
   * @returns tokens that need not be read
   */
  begin(context: readonly ContextItem[]): number {
    let common = 0;
    for (const [i, item] of context.entries()) {
      const known = this.#context[i];
      if (known === undefined || !same(known, item)) break;
      common += tokensOf(item);
    }
    this.#context = [...context];
    this.#length = contextLength(context);
    this.cache.length = Math.min(common, this.cache.length, this.#length - 1);
    this.checkRegime();
    return this.cache.length;
  }

  /** Adds a token to the context; the cache does not have it yet. */
  push(token: number): void {
    this.#context.push(token);
    this.#length++;
  }

  /** Empties the cache when its keys were rotated with other factors than this length asks for (see `RopeTables`). */
  checkRegime(): void {
    const regime = this.#model.decoder.rope.regime(this.#length);
    if (regime !== this.#regime) this.cache.length = 0;
    this.#regime = regime;
  }

  /** Whether so many tokens can follow those in the cache, known or not, without all being read again (see `checkRegime`). */
  maySpeculate(tokens: number): boolean {
    return this.#model.decoder.rope.regime(this.cache.length + tokens) === this.#regime;
  }

  /** Makes room and tables for a cache of so many tokens: passes can allocate neither. */
  prepare(length: number): void {
    this.#model.decoder.rope.table(length, true);
    // Caches of other sizes that have been freed are of no use to a larger one.
    if (length > this.cache.capacity) this.#gpu.trim(KEPT_FREE_BYTES);
    this.cache.reserve(length);
  }

  /** Takes what was read after the last known token but one out of the cache. */
  forgetSpeculation(): void {
    this.cache.length = Math.max(0, Math.min(this.cache.length, this.#length - 1));
  }

  /** Images that the rest of the context needs. */
  unreadSlots(): Slot[] {
    const slots: Slot[] = [];
    let at = 0;
    for (const item of this.#context) {
      at += tokensOf(item);
      if (typeof item !== "number" && at > this.cache.length) slots.push(item);
    }
    return slots;
  }

  /**
   * Reads the rest of the context, part by part.
   *
   * @param features image tokens [N, D] of `unreadSlots`, by key
   * @param choose   records the choice of the next token from logits f32 [1, V]
   */
  async read(
    features: ReadonlyMap<string, Tensor>,
    choose: (logits: Tensor) => void,
    { part = longestPart(this.#model), signal, onPart, during = (record) => record() }: ReadOptions = {},
  ): Promise<void> {
    this.prepare(this.#length);
    while (this.unread > 0) {
      signal?.throwIfAborted();
      const from = this.cache.length;
      const to = Math.min(this.#length, from + part);
      during(() => this.#gpu.scope(() => this.#record(from, to, features, choose)));
      if (to < this.#length) await this.#gpu.settled();
      onPart?.(to);
    }
  }

  /** Forgets the context and frees the cache; both can be filled again. */
  free(): void {
    this.cache.free();
    this.#context = [];
    this.#length = 0;
  }

  #record(
    from: number,
    to: number,
    features: ReadonlyMap<string, Tensor>,
    choose: (logits: Tensor) => void,
  ): undefined {
    const { decoder } = this.#model;
    const last = decoder.last(this.#embed(from, to, features), this.cache, this.#length);
    if (to === this.#length) choose(this.#gpu.mark("logits", decoder.logits(last)));
  }

  /** Embeddings [to - from, D] of a stretch of the context. */
  #embed(from: number, to: number, features: ReadonlyMap<string, Tensor>): Tensor {
    const ids = new Uint32Array(to - from);
    const slots: { at: number; tokens: Tensor }[] = [];
    let at = 0;
    for (const item of this.#context) {
      const end = at + tokensOf(item);
      if (end > from && at < to) {
        if (typeof item === "number") ids[at - from] = item;
        else {
          const first = Math.max(at, from);
          const tokens = features.get(item.key)!.rows(first - at, Math.min(end, to) - at);
          slots.push({ at: first - from, tokens });
        }
      }
      at = end;
    }
    return this.#model.splice(this.#gpu.upload([ids.length], "u32", ids), slots);
  }
}

/** Tokens of a prompt that one pass reads, at most: such that the widest activation, gate and up in f32, can be bound. */
export function longestPart({ gpu, decoder }: FastVLMModel): number {
  const rowBytes = 2 * decoder.config.intermediateSize * BYTES.f32;
  const rows = Math.floor(gpu.maxBindingBytes / (rowBytes * PART_STEP)) * PART_STEP;
  return Math.max(PART_STEP, Math.min(MAX_PART, rows));
}
