import { SLOT_WORDS } from "./bindings.ts";

/** One kernel run; its group binds a slot of parameters. */
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
  /** Words of all slots where each parameter that varies is. */
  readonly #places = new Map<string, Set<number>>();
  /** What the slots hold. */
  #words: Uint32Array | undefined;
  #isSpoilt = false;

  /** @param varying names of parameters that replays give other values */
  constructor(varying: readonly string[]) {
    for (const name of varying) this.#places.set(name, new Set());
  }

  /** Whether all that happened was recorded. */
  get isWhole(): boolean {
    return this.#words !== undefined && !this.#isSpoilt;
  }

  /** @param names of the first words of the slot */
  add(run: Run, slot: number, names: readonly string[]): void {
    this.runs.push(run);
    for (const [name, places] of this.#places) {
      const at = names.indexOf(name);
      if (at >= 0) places.add(slot * SLOT_WORDS + at);
    }
  }

  /** Says that something happened that cannot be repeated. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /** @param words of all slots */
  end(words: Uint32Array): void {
    this.#words = words;
  }

  /** The words of all slots, with these values; overwritten by the next call. */
  parameters(values: Readonly<Record<string, number>>): Uint32Array {
    const words = this.#words ?? new Uint32Array();
    for (const [name, places] of this.#places) {
      for (const place of places) words[place] = values[name]!;
    }
    return words;
  }
}
