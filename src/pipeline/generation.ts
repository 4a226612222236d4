import type { Tensor } from "../tensor/tensor.ts";
import type { Logprobs, Sampler } from "./sampling.ts";
import type { Scheduler, Speaker } from "./scheduler.ts";
import type { ReadOptions, Sequence } from "./sequence.ts";
import type { Constraint } from "./structured.ts";
import type { Trace } from "./trace.ts";

/** Gives out the image tokens that a sequence's unread slots stand for, and takes them back. */
export interface Eyes {
  acquire(): Promise<ReadonlyMap<string, Tensor>>;
  release(features: ReadonlyMap<string, Tensor>): void;
}

export interface GenerationOptions extends Pick<ReadOptions, "part" | "signal" | "onPart"> {
  readonly eyes: Eyes;
  readonly sampler: Sampler;
  /** Says which tokens may come next. Default: all may */
  readonly constraint?: Constraint | undefined;
  /** Records every stage of the first pass and the logits of all; such an answer is decoded by itself. */
  readonly trace?: Trace | undefined;
}

/** One answer in the making, token by token: the first `next` reads what is new of the context. Ends with `free`. */
export class Generation implements Speaker {
  readonly sequence: Sequence;
  /** Milliseconds spent on looking at images. */
  visionMs = 0;
  readonly #scheduler: Scheduler;
  readonly #options: GenerationOptions;
  #token: Tensor | undefined;
  #logprobs: Logprobs | undefined;

  constructor(sequence: Sequence, scheduler: Scheduler, options: GenerationOptions) {
    this.sequence = sequence;
    this.#scheduler = scheduler;
    this.#options = options;
  }

  get token(): Tensor {
    return this.#token!;
  }

  /** About the last token, when the sampler was asked for it. */
  get logprobs(): Logprobs | undefined {
    return this.#logprobs;
  }

  choose(logits: Tensor): void {
    this.#token = this.#options.sampler.choose(logits);
  }

  async took(token: number): Promise<void> {
    const { sampler, constraint } = this.#options;
    this.sequence.push(token);
    constraint?.accept(token);
    this.#logprobs = await sampler.logprobs();
  }

  /**
   * The next token, which the context then ends with. After an error the cache holds what it held before, or nothing when
   * that is in doubt.
   */
  async next(): Promise<number> {
    const { signal, sampler, constraint } = this.#options;
    signal?.throwIfAborted();
    try {
      if (constraint) sampler.mask(constraint.mask());
      this.sequence.checkRegime();
      const token = this.sequence.unread === 1 && this.#token ? await this.#step() : await this.#read();
      signal?.throwIfAborted();
      return token;
    } catch (error) {
      if (error !== signal?.reason) this.sequence.cache.length = 0;
      throw error;
    }
  }

  /** Frees the sampler; the sequence stays. */
  free(): void {
    this.#scheduler.leave(this);
    this.#options.sampler.free();
  }

  #step(): Promise<number> {
    const { trace } = this.#options;
    this.sequence.prepare();
    if (!trace) return this.#scheduler.step(this);
    return this.#scheduler.alone(this, (record) => trace.during(record, "logits"));
  }

  /** Reads the prompt; or all of the context again, when LongRoPE's factors have changed and cached keys are of no use. */
  async #read(): Promise<number> {
    const { eyes, trace, part, signal, onPart } = this.#options;
    const started = performance.now();
    const features = await eyes.acquire();
    this.visionMs += performance.now() - started;
    try {
      const only = this.#token ? "logits" : undefined;
      await this.sequence.read(features, (logits) => this.choose(logits), {
        part,
        signal,
        onPart,
        during: trace && ((record) => trace.during(record, only)),
      });
    } finally {
      eyes.release(features);
    }
    const [token] = await this.sequence.cache.gpu.readU32(this.token);
    await this.took(token!);
    return token!;
  }
}
