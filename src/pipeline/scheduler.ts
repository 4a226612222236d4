import type { Gpu } from "../gpu/gpu.ts";
import type { Tape } from "../gpu/tape.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { nextTask } from "./next_task.ts";
import type { Sequence } from "./sequence.ts";

/** An answer that is being decoded. */
export interface Speaker {
  readonly sequence: Sequence;
  /** The last chosen token, u32 [1], on the GPU; the host need not know it yet. */
  readonly token: Tensor;
  /** Whether the next pass chooses a token: its cache lacks exactly `token` then, and has room for it. */
  readonly due: boolean;
  /** Records the choice of the next token from logits f32 [1, V], and leaves it in `token`. */
  choose(logits: Tensor): void;
  /** Whether all its choices take the same kernel runs, but for parameters. */
  readonly repeats: boolean;
  /** Makes the next choice what the runs recorded by `choose` make it, with these parameters. */
  repeat(): Readonly<Record<string, number>>;
  /** Learns that a choice is on its way. */
  chosen(token: Promise<number>): void;
  /** Waits for the first choice that has not been taken. */
  take(): Promise<number>;
}

/** A pass that was recorded, while this was its state (see `Decoder.stepState`). */
interface Taped {
  readonly state: readonly unknown[];
  /** Undefined where it cannot be repeated. */
  readonly tape: Tape | undefined;
}

interface Waiting {
  resolve(token: number): void;
  reject(reason: unknown): void;
}

/** Answers that are decoded in one pass, at most. */
export const MAX_BATCH = 64;
const BINDING_ALIGNMENT = 256;

/**
 * Decodes overlapping answers together: each asks for its next token when it wants one, and those that ask at the same time
 * share a pass, in which every weight is read once for all of them. Answers join and leave at any step.
 *
 * The pass that an answer's question starts need not be the one it gets its token from: answers that are due although a choice
 * of theirs is on its way run ahead, so that the GPU has the next steps before the host has heard of this one.
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
  /** The pass of an answer that is decoded alone, which is the same at every step. */
  readonly #taped = new WeakMap<Speaker, Taped>();
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
  alone(speaker: Speaker, during: (record: () => void) => void): Promise<number> {
    if (speaker.due) this.#launch([speaker], during);
    return speaker.take();
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
      const due = (): Speaker[] => batch.map(([speaker]) => speaker).filter((speaker) => speaker.due);
      // An answer that has yet to get ahead takes part in several passes.
      for (let speakers = due(); speakers.length > 0; speakers = due()) this.#launch(speakers);
      // A step is over when all that took part know their tokens, so that they ask for the next one together.
      const taken = await Promise.allSettled(batch.map(([speaker]) => speaker.take()));
      for (const [i, [speaker, { resolve, reject }]] of batch.entries()) {
        const outcome = taken[i]!;
        if (outcome.status === "rejected") reject(outcome.reason);
        else {
          this.#expected.add(speaker);
          resolve(outcome.value);
        }
      }
    } catch (error) {
      for (const [, { reject }] of batch) reject(error);
    } finally {
      this.#running = false;
    }
    this.#wake();
  }

  /** Submits one pass, and tells those in it what will be chosen. */
  #launch(speakers: readonly Speaker[], during = (record: () => void): void => record()): void {
    let tokens: Tensor | undefined;
    during(() => {
      tokens = this.#record(speakers);
    });
    const ids = this.#gpu.readU32(tokens!);
    for (const [i, speaker] of speakers.entries()) speaker.chosen(ids.then((all) => all[i]!));
    if (speakers.length === 1) return;
    this.sharedSteps++;
    this.#gpu.release(tokens!);
  }

  /** Records one pass; returns the tokens chosen, u32 [B]. */
  #record(speakers: readonly Speaker[]): Tensor {
    const gpu = this.#gpu;
    const [first] = speakers as readonly [Speaker, ...Speaker[]];
    if (speakers.length === 1) return this.#recordAlone(first);
    return gpu.scope(() => {
      const tokens = gpu.empty([speakers.length], "u32");
      for (const [i, { token }] of speakers.entries()) gpu.copy(token, tokens.rows(i, i + 1));
      const logits = this.#logits(tokens, speakers); // [B, V]
      for (const [i, speaker] of speakers.entries()) speaker.choose(bindable(logits, i));
      for (const [i, { token }] of speakers.entries()) gpu.copy(token, tokens.rows(i, i + 1));
      return tokens;
    });
  }

  /** The same for a single answer: the code below the tape runs at its first step, and when the cache has grown. */
  #recordAlone(speaker: Speaker): Tensor {
    const gpu = this.#gpu;
    const { cache } = speaker.sequence;
    const state = speaker.repeats && !gpu.recorder ? this.#model.decoder.stepState(cache) : undefined;
    const taped = this.#taped.get(speaker);
    const isKnown = state !== undefined && taped?.state.every((part, i) => part === state[i]);
    if (isKnown && taped?.tape) {
      gpu.replay(taped.tape, { start: cache.length, ...speaker.repeat() });
      cache.length++;
      return speaker.token;
    }
    const pass = (): void => {
      speaker.choose(this.#logits(speaker.token, [speaker]));
    };
    if (state && !isKnown) this.#taped.set(speaker, { state, tape: gpu.tape(pass, ["start", "step"]) });
    else gpu.scope(() => void pass());
    return speaker.token;
  }

  /** Token ids u32 [B], one of each answer → logits f32 [B, V] */
  #logits(tokens: Tensor, speakers: readonly Speaker[]): Tensor {
    const { decoder } = this.#model;
    const spans = speakers.map(({ sequence }) => ({ cache: sequence.cache, tokens: 1 }));
    return this.#gpu.mark("logits", decoder.logits(decoder.forwardSpans(decoder.embed(tokens), spans)));
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
