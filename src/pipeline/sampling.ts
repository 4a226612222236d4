import { argmax } from "../../kernels/argmax.ts";
import { InputError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { expectDType, expectShape, type Tensor } from "../tensor/tensor.ts";

/** How the next token is chosen. The defaults choose the likeliest one. */
export interface SamplingOptions {
  /** Logits are divided by it before the draw; 0 takes the likeliest token instead. Default 0 */
  readonly temperature?: number | undefined;
  /** Only the K likeliest tokens; 0 = all. Default 0 */
  readonly topK?: number | undefined;
  /** Only the likeliest tokens whose probabilities reach this sum, in (0, 1]. Default 1 */
  readonly topP?: number | undefined;
  /** Only tokens at least this many times as likely as the likeliest, in [0, 1]. Default 0 */
  readonly minP?: number | undefined;
  /** Divides positive and multiplies negative logits of tokens of prompt and answer, above 0. Default 1 */
  readonly repetitionPenalty?: number | undefined;
  /** Subtracted from a token's logit for each time the answer has it, in [-2, 2]. Default 0 */
  readonly frequencyPenalty?: number | undefined;
  /** Subtracted once from the logits of tokens the answer has, in [-2, 2]. Default 0 */
  readonly presencePenalty?: number | undefined;
  /** Added to the logits of single tokens, by id. Default none */
  readonly logitBias?: Readonly<Record<number, number>> | undefined;
  /** Same seed, same text; an integer in [0, 2^53). Default: a new one each time */
  readonly seed?: number | undefined;
  /** Report the log probability of the chosen token and of this many likeliest ones, 0…20. Default: none reported */
  readonly logprobs?: number | undefined;
}

export interface SamplerShape {
  /** Ids from here on are never chosen: rows that pad the vocabulary. */
  readonly vocabulary: number;
  /** Length of a row of logits. */
  readonly columns: number;
  /** Ids of the prompt, for the repetition penalty. */
  readonly context: readonly number[];
}

/** Log probabilities under the model's own distribution: the logits before any bias, penalty, mask or temperature. */
export interface Logprobs {
  readonly logprob: number;
  /** The likeliest tokens in order, the lower id first on ties. */
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

const LIMITS: Readonly<Record<Exclude<keyof SamplingOptions, "logitBias">, [low: number, high: number, type?: "int"]>> =
  {
    temperature: [0, 100],
    topK: [0, 2 ** 31 - 1, "int"],
    topP: [Number.MIN_VALUE, 1],
    minP: [0, 1],
    repetitionPenalty: [2 ** -20, 2 ** 20],
    frequencyPenalty: [-2, 2],
    presencePenalty: [-2, 2],
    seed: [0, Number.MAX_SAFE_INTEGER, "int"],
    logprobs: [0, 20, "int"],
  };

/**
 * Throws InputError when an option is out of range.
 *
 * @param vocabulary when known, the ids of `logitBias` must lie below it
 */
export function checkSampling(options: SamplingOptions, vocabulary = Number.POSITIVE_INFINITY): void {
  for (const [name, [low, high, type]] of Object.entries(LIMITS)) {
    const value = options[name as keyof typeof LIMITS];
    if (value === undefined) continue;
    if (!(value >= low && value <= high) || (type === "int" && !Number.isSafeInteger(value))) {
      const from = low === Number.MIN_VALUE ? "above 0" : `from ${low}`;
      const what = type === "int" ? "an integer" : "a number";
      throw new InputError(`${name}: expected ${what} ${from} to ${high}, got ${String(value)}`);
    }
  }
  for (const [key, bias] of Object.entries(options.logitBias ?? {})) {
    const id = Number(key);
    if (!Number.isSafeInteger(id) || id < 0 || id >= vocabulary) {
      throw new InputError(`logitBias: expected token ids from 0 to ${vocabulary - 1}, got ${key}`);
    }
    if (typeof bias !== "number" || Number.isNaN(bias)) {
      throw new InputError(`logitBias: token ${key}: expected a number, got ${String(bias)}`);
    }
  }
}

/** Chooses the tokens of one answer, on the GPU. */
export class Sampler {
  readonly #gpu: Gpu;
  readonly #shape: SamplerShape;
  readonly #token: Tensor;

  /** @throws InputError when an option is out of range */
  constructor(gpu: Gpu, options: SamplingOptions, shape: SamplerShape) {
    checkSampling(options, shape.vocabulary);
    this.#gpu = gpu;
    this.#shape = shape;
    this.#token = gpu.empty([1], "u32");
  }

  /**
   * Records the choice of the next token.
   *
   * @param logits f32 [1, V]
   * @returns      u32 [1], the id; the sampler's own tensor, overwritten by the next choice
   */
  choose(logits: Tensor): Tensor {
    const { columns, vocabulary } = this.#shape;
    expectShape("sampler: logits", logits, [1, columns]);
    expectDType("sampler: logits", logits, "f32");
    return argmax(logits, Math.min(vocabulary, columns), this.#token);
  }

  /** Which ids the next choices may take, bit id % 32 of word id / 32; undefined allows all. */
  mask(_bits: Uint32Array<ArrayBuffer> | undefined): void {}

  /** About the last choice; undefined unless `logprobs` was asked for. Call after the token was read. */
  async logprobs(): Promise<Logprobs | undefined> {
    return undefined;
  }

  free(): void {
    this.#gpu.release(this.#token);
  }
}
