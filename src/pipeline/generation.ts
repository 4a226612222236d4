import type { AdapterSummary } from "../gpu/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Logprobs, Sampler } from "./sampling.ts";
import type { Scheduler, Speaker } from "./scheduler.ts";
import type { ReadOptions, Sequence } from "./sequence.ts";
import type { Constraint } from "./structured.ts";
import type { Trace } from "./trace.ts";
import type { Look } from "./vision.ts";

/** Gives out the image tokens that a sequence's unread slots stand for, and takes them back. */
export interface Eyes {
  acquire(): Promise<Look>;
  release(features: ReadonlyMap<string, Tensor>): void;
}

/**
 * Tokens that answers run ahead. With a single one a GPU waits wherever the host takes longer than usual; each is in vain, for a
 * millisecond or so, when an answer ends. Where the GPU is the CPU, there is no time for what is in vain.
 */
export const leadOn = ({ software }: AdapterSummary): number => (software ? 1 : 2);

type Choice = readonly [token: number, logprobs: Logprobs | undefined];

export interface GenerationOptions extends Pick<ReadOptions, "part" | "signal" | "onPart"> {
  readonly eyes: Eyes;
  readonly sampler: Sampler;
  /** Says which tokens may come next. Default: all may */
  readonly constraint?: Constraint | undefined;
  /** Tokens that are wanted at most. Default: none is begun before it is asked for */
  readonly maxTokens?: number | undefined;
  /** Tokens that it runs ahead, at most. Default: `leadOn` the adapter */
  readonly lead?: number | undefined;
  /** Records every stage of the first pass and the logits of all; such an answer is decoded by itself. */
  readonly trace?: Trace | undefined;
}

/**
 * One answer in the making, token by token: the first `next` reads what is new of the context. Ends with `free`.
 *
 * Where the choice of the next token takes nothing that only the host knows, it runs ahead: the passes that read a token and the
 * next are submitted before the host has been told which tokens those are. What was read ahead of an answer's end is forgotten.
 */
export class Generation implements Speaker {
  readonly sequence: Sequence;
  /** Milliseconds spent on looking at images. */
  visionMs = 0;
  readonly #scheduler: Scheduler;
  readonly #options: GenerationOptions;
  /** Choices on their way to the host, first one first. */
  readonly #choices: Promise<Choice>[] = [];
  /** Choices so far. */
  #begun = 0;
  /** Passes that are wanted of the scheduler before the next token is taken. */
  #wanted = 0;
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

  get due(): boolean {
    return this.#wanted > 0;
  }

  /** About the last token, when the sampler was asked for it. */
  get logprobs(): Logprobs | undefined {
    return this.#logprobs;
  }

  choose(logits: Tensor): void {
    this.#token = this.#options.sampler.choose(logits);
  }

  get repeats(): boolean {
    return !this.#options.constraint && !this.#options.trace;
  }

  repeat(): Readonly<Record<string, number>> {
    return this.#options.sampler.repeat();
  }

  chosen(token: Promise<number>): void {
    this.#wanted--;
    this.#expect(token);
  }

  #expect(token: Promise<number>): void {
    const choice = Promise.all([token, this.#options.sampler.logprobs()]);
    choice.catch(() => undefined); // nobody may come to take it
    this.#choices.push(choice);
    this.#begun++;
  }

  async take(): Promise<number> {
    const [token, logprobs] = await this.#choices.shift()!;
    this.sequence.push(token);
    this.#options.constraint?.accept(token);
    this.#logprobs = logprobs;
    return token;
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
      if (this.#choices.length === 0) {
        this.sequence.checkRegime();
        if (this.sequence.unread > 1 || !this.#token) await this.#read();
      }
      const token = await this.#step();
      signal?.throwIfAborted();
      return token;
    } catch (error) {
      if (error !== signal?.reason) this.sequence.cache.free();
      throw error;
    }
  }

  /** Frees the sampler; the sequence stays. */
  free(): void {
    this.#scheduler.leave(this);
    this.#options.sampler.free();
    this.sequence.forgetSpeculation();
  }

  #step(): Promise<number> {
    const { trace } = this.#options;
    this.#wanted = this.#passes();
    if (this.#wanted > 0) this.sequence.prepare(this.sequence.cache.length + this.#wanted);
    if (!trace) return this.#scheduler.step(this);
    return this.#scheduler.alone(this, (record) => trace.during(record, "logits"));
  }

  /**
   * Passes to submit before the next token is taken. The lead grows by one with every token, so that the first is not late. A
   * constraint must hear of a token before it can say which may follow; a trace is of what was asked for.
   */
  #passes(): number {
    const { constraint, trace, maxTokens = 0, lead = leadOn(this.sequence.cache.gpu.adapter) } = this.#options;
    const underWay = this.#choices.length;
    const needed = underWay === 0 ? 1 : 0;
    if (constraint || trace) return needed;
    const taken = this.#begun - underWay;
    let passes = Math.min(1 + Math.min(lead, 1 + taken) - underWay, maxTokens - this.#begun);
    while (passes > needed && !this.sequence.maySpeculate(passes)) passes--;
    return Math.max(needed, passes);
  }

  /** Reads the prompt; or all of the context again, when LongRoPE's factors have changed and cached keys are of no use. */
  async #read(): Promise<void> {
    const { eyes, trace, part, signal, onPart } = this.#options;
    const started = performance.now();
    const { tokens: features, seen } = await eyes.acquire();
    const looked = seen.then(() => {
      this.visionMs += performance.now() - started;
    });
    looked.catch(() => undefined); // should reading fail first
    try {
      const only = this.#token ? "logits" : undefined;
      await this.sequence.read(features, (logits) => this.choose(logits), {
        part,
        signal,
        onPart: (tokens) => {
          if (tokens === this.sequence.length) this.#expectChosen(); // before others can record anything
          onPart?.(tokens);
        },
        during: trace && ((record) => trace.during(record, only)),
      });
    } finally {
      eyes.release(features);
    }
    await looked;
  }

  #expectChosen(): void {
    this.#expect(this.sequence.cache.gpu.readU32(this.token).then(([token]) => token!));
  }
}
