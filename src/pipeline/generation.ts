import { argmax } from "../../kernels/argmax.ts";
import { ContextError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { KvCache } from "../models/decoder/kv_cache.ts";
import type { FastVLMModel, PromptToken } from "../models/fastvlm.ts";
import { BYTES, type Tensor } from "../tensor/tensor.ts";

/** Caches are made in steps of this many tokens, so that prompts of similar length share buffers. */
const CACHE_STEP = 256;

/** Prompts are read in parts of at most this many tokens, which bounds the activations; in multiples of the step below. */
const MAX_PART = 1024;
/** Rows that start at an offset every adapter can bind. */
const PART_STEP = 64;

export interface GenerationOptions {
  /** Upper bound on new tokens; sizes the cache. */
  readonly maxTokens: number;
  /** Ids from here on are never chosen: rows that pad the vocabulary. Default: the whole vocabulary */
  readonly vocabulary?: number | undefined;
  /** Tokens of the prompt read in one pass, a multiple of 64. Default: what the adapter can bind, at most 1024 */
  readonly part?: number | undefined;
}

/**
 * One answer in the making: the prompt's cache and the tokens chosen so far. `prefill` once, then `step` until done, then
 * `free`. Greedy: the likeliest token, the lowest id on ties.
 */
export class Generation {
  readonly #model: FastVLMModel;
  readonly #gpu: Gpu;
  readonly #limit: number;
  readonly #part: number;
  readonly #cache: KvCache;
  /** The embedded prompt [T, D], kept because LongRoPE may ask to run it again. */
  readonly #prompt: Tensor;
  /** The last chosen token, u32 [1], on the GPU: the next step reads it there. */
  readonly #token: Tensor;
  readonly #chosen: number[] = [];

  /**
   * @param prompt   tokens and image slots
   * @param features image tokens [N, D] by slot index; must outlive the constructor only
   * @throws ContextError when prompt and answer do not fit the model's context; nothing has run by then
   */
  constructor(
    model: FastVLMModel,
    prompt: readonly PromptToken[],
    features: readonly Tensor[],
    options: GenerationOptions,
  ) {
    const { gpu, decoder } = model;
    const ids: number[] = [];
    const slots: { at: number; tokens: Tensor }[] = [];
    for (const token of prompt) {
      if (typeof token === "number") ids.push(token);
      else {
        const tokens = features[token.image]!;
        slots.push({ at: ids.length, tokens });
        ids.push(...new Array<number>(tokens.shape[0]!).fill(0));
      }
    }
    const capacity = contextFor(ids.length, options.maxTokens, decoder.config.maxPositions);
    this.#model = model;
    this.#gpu = gpu;
    this.#limit = Math.min(options.vocabulary ?? Number.POSITIVE_INFINITY, decoder.config.vocabSize);
    this.#part = options.part ?? partFor(gpu.maxBindingBytes, decoder.config.intermediateSize);
    this.#cache = decoder.cache(capacity, model.dtype);
    this.#token = gpu.empty([1], "u32");
    const uploaded = gpu.upload([ids.length], "u32", Uint32Array.from(ids));
    this.#prompt = gpu.scope(() => gpu.keep(model.splice(uploaded, slots)));
    gpu.release(uploaded);
  }

  get promptTokens(): number {
    return this.#prompt.shape[0]!;
  }

  /** Reads the prompt and returns the first token. */
  async prefill(): Promise<number> {
    return this.#read(this.#prompt);
  }

  /** Returns the next token. */
  async step(): Promise<number> {
    const { rope } = this.#model.decoder;
    const seen = this.#cache.length;
    if (rope.regime(seen + 1) !== rope.regime(seen)) return this.#rerun();
    rope.table(seen + 1);
    this.#gpu.scope(() => this.#choose(this.#model.decoder.embed(this.#token)));
    return this.#readToken();
  }

  free(): void {
    this.#cache.free();
    this.#gpu.release(this.#prompt);
    this.#gpu.release(this.#token);
  }

  /** LongRoPE's switch: keys rotated with the short factors are of no use, so the whole context runs again. */
  async #rerun(): Promise<number> {
    const gpu = this.#gpu;
    const ids = gpu.upload([this.#chosen.length], "u32", Uint32Array.from(this.#chosen));
    const { shape, dtype } = this.#prompt;
    const context = gpu.scope(() => {
      const whole = gpu.empty([shape[0]! + ids.size, shape[1]!], dtype);
      gpu.copy(this.#prompt, whole);
      gpu.copy(this.#model.decoder.embed(ids), whole.rows(shape[0]!, whole.shape[0]!));
      return gpu.keep(whole);
    });
    this.#cache.length = 0;
    try {
      return await this.#read(context);
    } finally {
      gpu.release(ids);
      gpu.release(context);
    }
  }

  /** Embeddings [T, D] of all tokens the cache has not seen → the next token. */
  async #read(x: Tensor): Promise<number> {
    this.#model.decoder.rope.table(this.#cache.length + x.shape[0]!);
    this.#gpu.scope(() => this.#choose(x));
    return this.#readToken();
  }

  /** Runs the language model over x [T, D], part by part, and leaves the likeliest next token in `#token`. */
  #choose(x: Tensor): undefined {
    const { decoder } = this.#model;
    const { T, D } = x.dims("T D");
    const total = this.#cache.length + T;
    const last = x.like([1, D]);
    for (let from = 0; from < T; from += this.#part) {
      this.#gpu.scope(() => {
        const h = decoder.forward(x.rows(from, Math.min(T, from + this.#part)), this.#cache, total);
        this.#gpu.copy(h.rows(h.shape[0]! - 1, h.shape[0]!), last);
        return undefined;
      });
    }
    const logits = this.#gpu.mark("logits", decoder.logits(last)); // [1, V]
    this.#gpu.copy(argmax(logits, this.#limit), this.#token);
    return undefined;
  }

  async #readToken(): Promise<number> {
    const [token] = await this.#gpu.readU32(this.#token);
    this.#chosen.push(token!);
    return token!;
  }
}

/** Tokens per pass such that the widest activation, gate and up in f32, can be bound. */
function partFor(maxBindingBytes: number, intermediateSize: number): number {
  const rows = Math.floor(maxBindingBytes / (2 * intermediateSize * BYTES.f32 * PART_STEP)) * PART_STEP;
  return Math.max(PART_STEP, Math.min(MAX_PART, rows));
}

/** Cache size for a prompt and an answer, or the error that they do not fit. */
export function contextFor(promptTokens: number, maxTokens: number, maxPositions: number): number {
  const needed = promptTokens + maxTokens;
  if (promptTokens === 0) throw new ContextError("the prompt is empty: expected at least one token");
  if (needed > maxPositions) {
    throw new ContextError(
      `the prompt has ${promptTokens} tokens and the answer may have ${maxTokens}: expected at most ${maxPositions} together, the model's context`,
      { hint: "Shorten the prompt, lower --max-tokens, or use fewer or smaller images." },
    );
  }
  return Math.min(maxPositions, Math.ceil(needed / CACHE_STEP) * CACHE_STEP);
}
