import type { Gpu } from "../gpu/gpu.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Sequence } from "./sequence.ts";

/** An answer that is being decoded. */
export interface Speaker {
  /** Its cache lacks exactly one token, `token`, and is prepared for it. */
  readonly sequence: Sequence;
  /** The last chosen token, u32 [1], on the GPU. */
  readonly token: Tensor;
  /** Records the choice of the next token from logits f32 [1, V], and leaves it in `token`. */
  choose(logits: Tensor): void;
  /** Learns what was chosen; a step is over when all that took part have, so that they ask for the next one together. */
  took(token: number): Promise<void>;
}

interface Waiting {
  resolve(token: number): void;
  reject(reason: unknown): void;
}

/** Answers that are decoded in one pass, at most. */
const MAX_BATCH = 64;
const BINDING_ALIGNMENT = 256;

/**
 * Decodes overlapping answers together: each asks for its next token when it wants one, and those that ask at the same time
 * share a pass, in which every weight is read once for all of them. Answers join and leave at any step.
 *
 * A step waits for the answers of the previous one until everything that can run without waiting has run. One that has not
 * asked by then, such as one whose reader is slow, holds nobody up: it comes along at the next step after it asks.
 */
export class Scheduler {
  readonly #gpu: Gpu;
  readonly #model: FastVLMModel;
  readonly #waiting = new Map<Speaker, Waiting>();
  /** Answers of the last step that have not asked again yet. */
  readonly #expected = new Set<Speaker>();
  #running = false;
  #due = false;
  /** Passes so far that decoded more than one answer. */
  sharedSteps = 0;

  constructor(model: FastVLMModel) {
    this.#gpu = model.gpu;
    this.#model = model;
  }

  /** The next token of an answer. */
  step(speaker: Speaker): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(speaker, { resolve, reject });
      this.#expected.delete(speaker);
      this.#wake();
    });
  }

  /** Says that an answer has ended, so that nobody waits for it. */
  leave(speaker: Speaker): void {
    this.#expected.delete(speaker);
    this.#wake();
  }

  /** The next token of one answer, by itself. */
  async alone(speaker: Speaker, during: (record: () => void) => void): Promise<number> {
    during(() => this.#record([speaker]));
    const [token] = await this.#gpu.readU32(speaker.token);
    await speaker.took(token!);
    return token!;
  }

  #wake(): void {
    if (this.#running || this.#waiting.size === 0) return;
    if (this.#expected.size === 0) void this.#run();
    else if (!this.#due) {
      this.#due = true;
      void nextTask().then(() => {
        this.#due = false;
        this.#expected.clear();
        this.#wake();
      });
    }
  }

  async #run(): Promise<void> {
    const batch = [...this.#waiting].slice(0, MAX_BATCH);
    for (const [speaker] of batch) this.#waiting.delete(speaker);
    this.#running = true;
    try {
      const tokens = await this.#decode(batch.map(([speaker]) => speaker));
      const taken = await Promise.allSettled(batch.map(([speaker], i) => speaker.took(tokens[i]!)));
      for (const [i, [speaker, { resolve, reject }]] of batch.entries()) {
        const outcome = taken[i]!;
        if (outcome.status === "rejected") reject(outcome.reason);
        else {
          this.#expected.add(speaker);
          resolve(tokens[i]!);
        }
      }
    } catch (error) {
      for (const [, { reject }] of batch) reject(error);
    } finally {
      this.#running = false;
    }
    this.#wake();
  }

  async #decode(speakers: readonly Speaker[]): Promise<Uint32Array> {
    if (speakers.length > 1) this.sharedSteps++;
    const tokens = this.#record(speakers);
    try {
      return await this.#gpu.readU32(tokens);
    } finally {
      if (speakers.length > 1) this.#gpu.release(tokens);
    }
  }

  /** Records one pass; returns the tokens chosen, u32 [B]. */
  #record(speakers: readonly Speaker[]): Tensor {
    const { decoder } = this.#model;
    const gpu = this.#gpu;
    const [first] = speakers as readonly [Speaker, ...Speaker[]];
    const alone = speakers.length === 1;
    const tokens = alone ? first.token : gpu.empty([speakers.length], "u32");
    const each = (visit: (speaker: Speaker, row: number) => void): void => speakers.forEach(visit);
    gpu.scope(() => {
      if (!alone) each(({ token }, i) => gpu.copy(token, tokens.rows(i, i + 1)));
      const spans = speakers.map(({ sequence }) => ({ cache: sequence.cache, tokens: 1 }));
      const logits = gpu.mark("logits", decoder.logits(decoder.forwardSpans(decoder.embed(tokens), spans))); // [B, V]
      each((speaker, i) => speaker.choose(bindable(logits, i)));
      if (!alone) each(({ token }, i) => gpu.copy(token, tokens.rows(i, i + 1)));
      return undefined;
    });
    return tokens;
  }
}

/** One row of a matrix, copied where an adapter may be unable to bind it in place. */
function bindable(x: Tensor, row: number): Tensor {
  const view = x.rows(row, row + 1);
  if (view.offset % BINDING_ALIGNMENT === 0) return view;
  const copy = x.like(view.shape);
  x.gpu.copy(view, copy);
  return copy;
}

/** Resolves once every promise that can go on has gone on: in the next turn of the event loop. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
