import { SLOT_WORDS } from "./bindings.ts";

/** One kernel run, but for its parameters. */
export interface Run {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/**
 * Kernel runs that can be encoded again without the code that asked for them, which takes the host longer than encoding does: a
 * decode step is over a hundred runs of a few microseconds. `Gpu.tape` records one, `Gpu.replay` repeats it.
 */
export class Tape {
  readonly runs: Run[] = [];
  readonly #varying: readonly string[];
  readonly #slots: Uint32Array[] = [];
  /** Words that hold each parameter that varies. */
  readonly #places = new Map<string, number[]>();
  #words: Uint32Array | undefined;
  #isWhole = true;

  /** @param varying names of parameters that replays give other values */
  constructor(varying: readonly string[]) {
    this.#varying = varying;
  }

  /** Whether what was recorded is all that happened. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** @param names of the first `words` of the run's slot of parameters */
  add(run: Run, names: readonly string[], words: Uint32Array): void {
    for (const name of this.#varying) {
      const at = names.indexOf(name);
      if (at < 0) continue;
      const places = this.#places.get(name) ?? [];
      this.#places.set(name, places);
      places.push(this.#slots.length * SLOT_WORDS + at);
    }
    this.runs.push(run);
    this.#slots.push(words.slice());
  }

  /** Says that something happened that cannot be repeated. */
  spoil(): void {
    this.#isWhole = false;
  }

  /** The slots of all runs, one after another, with these values; overwritten by the next call. */
  parameters(values: Readonly<Record<string, number>>): Uint32Array {
    this.#words ??= joined(this.#slots);
    for (const name of this.#varying)
      for (const place of this.#places.get(name) ?? []) this.#words[place] = values[name]!;
    return this.#words;
  }
}

function joined(slots: readonly Uint32Array[]): Uint32Array {
  const words = new Uint32Array(slots.length * SLOT_WORDS);
  for (const [i, slot] of slots.entries()) words.set(slot, i * SLOT_WORDS);
  return words;
}
