import { argmax } from "../../kernels/argmax.ts";
import { type SampleOptions, sample } from "../../kernels/sample.ts";
import { sampleLogprobs } from "../../kernels/sample_logprobs.ts";
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
  /** Divides positive and multiplies negative logits of tokens of prompt and answer, in [0.01, 100]. Default 1 */
  readonly repetitionPenalty?: number | undefined;
  /** Subtracted from a token's logit for each time the answer has it, in [-2, 2]. Default 0 */
  readonly frequencyPenalty?: number | undefined;
  /** Subtracted once from the logits of tokens the answer has, in [-2, 2]. Default 0 */
  readonly presencePenalty?: number | undefined;
  /** Added to the logits of single tokens, by id; -Infinity bans one. Default none */
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
    repetitionPenalty: [0.01, 100],
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

/**
 * Chooses the tokens of one answer, on the GPU: a step reads one id back and allocates nothing after the first.
 *
 * In order: bias, repetition penalty, frequency and presence penalty, mask, temperature, top-k, top-p, min-p, the draw. Each
 * filter sees what the one before left, as in transformers; tokens exactly as likely as the last one kept are kept too. Without
 * a temperature the likeliest is taken, the lowest id on ties. The draw depends on seed and step only, not on what else runs.
 */
export class Sampler {
  readonly #gpu: Gpu;
  readonly #options: SampleOptions;
  readonly #columns: number;
  readonly #vocabulary: number;
  readonly #token: Tensor;
  readonly #bias: Tensor | undefined;
  readonly #seen: Tensor | undefined;
  /** Log probabilities and ids, f32 [2, 1, 1 + n]. */
  readonly #logprobs: Tensor | undefined;
  #mask: Tensor | undefined;
  #masked = false;
  #step = 0;

  /** @throws InputError when an option is out of range */
  constructor(gpu: Gpu, options: SamplingOptions, shape: SamplerShape) {
    const vocabulary = Math.min(shape.vocabulary, shape.columns);
    checkSampling(options, vocabulary);
    const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias = {}, logprobs } = options;
    this.#gpu = gpu;
    this.#columns = shape.columns;
    this.#vocabulary = vocabulary;
    this.#options = kernelOptions(options, vocabulary);
    this.#token = gpu.empty([1], "u32");
    try {
      if (Object.keys(logitBias).length > 0)
        this.#bias = gpu.upload([shape.columns], "f32", dense(logitBias, shape.columns));
      if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0) {
        const seen = new Uint32Array(shape.columns);
        for (const id of shape.context) if (id < seen.length) seen[id] = IN_PROMPT;
        this.#seen = gpu.upload([1, shape.columns], "u32", seen);
      }
      if (logprobs !== undefined) this.#logprobs = gpu.empty([2, 1, 1 + logprobs], "f32");
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /**
   * Records the choice of the next token.
   *
   * @param logits f32 [1, V]; NaN counts as minus infinity, which is chosen only where there is nothing else
   * @returns      u32 [1], the id; the sampler's own tensor, overwritten by the next choice
   */
  choose(logits: Tensor): Tensor {
    expectShape("sampler: logits", logits, [1, this.#columns]);
    expectDType("sampler: logits", logits, "f32");
    const token = this.#token;
    const mask = this.#masked ? this.#mask : undefined;
    if (!this.#options.temperature && !mask && !this.#bias && !this.#seen) argmax(logits, this.#vocabulary, token);
    else sample(logits, { ...this.#options, step: this.#step }, { bias: this.#bias, seen: this.#seen, mask, token });
    const logprobs = this.#logprobs;
    if (logprobs) sampleLogprobs(logits, token, logprobs.shape[2]! - 1, this.#vocabulary, logprobs);
    if (!this.#gpu.isDry) this.#step++;
    return token;
  }

  /** Counts one more choice; its kernel runs are those of the one before, but for these parameters. */
  repeat(): { step: number } {
    return { step: this.#step++ };
  }

  /**
   * Restricts the next choices.
   *
   * @param bits one bit per id: bit id % 32 of word id / 32, set for ids that may be chosen; ids past the end may not.
   *             undefined allows all
   */
  mask(bits: Uint32Array<ArrayBuffer> | undefined): void {
    this.#masked = bits !== undefined;
    if (!bits) return;
    const words = Math.ceil(this.#columns / 32);
    const whole = new Uint32Array(words);
    whole.set(bits.length > words ? bits.subarray(0, words) : bits);
    if (!this.#mask) this.#mask = this.#gpu.upload([words], "u32", whole);
    else this.#gpu.write(this.#mask, 0, new Uint8Array(whole.buffer));
  }

  /** About the last choice recorded; undefined unless `logprobs` was asked for. */
  async logprobs(): Promise<Logprobs | undefined> {
    if (!this.#logprobs) return undefined;
    const values = await this.#gpu.read(this.#logprobs);
    const [count, logprob] = [values.length / 2, (i: number): number => (values[i]! < -1e37 ? -Infinity : values[i]!)];
    const top: { token: number; logprob: number }[] = [];
    for (let i = 1; i < count && values[count + i]! >= 0; i++)
      top.push({ token: values[count + i]!, logprob: logprob(i) });
    return { logprob: logprob(0), top };
  }

  /** Gives its memory back. */
  free(): void {
    for (const tensor of [this.#token, this.#bias, this.#seen, this.#logprobs, this.#mask]) {
      if (tensor) this.#gpu.release(tensor);
    }
  }
}

/** Temperatures below it would divide by next to nothing: the likeliest token is what they mean. */
const MIN_TEMPERATURE = 1e-5;
/** Marks tokens of the prompt in the counts. */
const IN_PROMPT = 2 ** 31;

function kernelOptions(options: SamplingOptions, vocabulary: number): SampleOptions {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, seed } = options;
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  const penalties = { repetitionPenalty, frequencyPenalty, presencePenalty };
  if (temperature < MIN_TEMPERATURE) return { vocabulary, ...penalties };
  const random = (): number => Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
  return { vocabulary, temperature, topK, topP, minP, ...penalties, seed: seed ?? random() };
}

/** The biases of all ids; infinite ones as the largest that the kernel takes. */
function dense(bias: Readonly<Record<number, number>>, size: number): Float32Array<ArrayBuffer> {
  const row = new Float32Array(size);
  for (const [id, value] of Object.entries(bias))
    row[Number(id)] = Math.max(-LARGEST_BIAS, Math.min(LARGEST_BIAS, value));
  return row;
}

const LARGEST_BIAS = 1.1e38;
