import { Recollection } from "./recollection.ts";

/** Stands in a table for the first candidate: of shapes that a class does not tell apart, the kernel's guess does. */
export const GUESS = "guess";

/** Which of several ways to compute the same serves a class of shapes: `"linear f32 f16 rows 1 896x4864"` → `"row"`. */
export type ChoiceTable = Readonly<Record<string, string>>;

/** Runs to time: each encodes one launch of a variant on shapes of the class. */
export type Trial = (variant: string) => void;

/** A choice that no table makes. */
export interface Question {
  /** The class of shapes; see `Choices.pick`. */
  readonly key: string;
  /** The first is taken where nobody has measured. */
  readonly candidates: readonly string[];
  /** One per place in the model, a few: with weights of their own, so that a cache does not flatter what is timed. */
  readonly trials: Trial[];
}

const TRIALS = 8;

/**
 * The choice between variants of a kernel, which compute the same up to the rounding of sums: a pure function of shape, adapter
 * and tables. Kernels give their candidates in order of preference; what a table names is taken instead.
 */
export class Choices {
  readonly #tables: ChoiceTable[];
  #asked: Map<string, Question> | null = null;
  readonly #known = new Recollection<string>();

  /** @param tables the first that knows a class decides */
  constructor(...tables: ChoiceTable[]) {
    this.#tables = tables;
  }

  /** From now on `table` decides before those so far. */
  prefer(table: ChoiceTable): void {
    this.#tables.unshift(table);
    this.#known.clear();
  }

  /** From now on no table decides, as where nobody has measured. */
  clear(): void {
    this.#tables.length = 0;
    this.#known.clear();
  }

  /**
   * The variant for a class of shapes.
   *
   * @param group       the coarse part of the class, such as `"linear f32 f16 rows 1"`; tables may name it alone
   * @param sizes       the rest, such as `"896x4864"`
   * @param candidates  at least one, all of which compute this class
   * @param trial       used only where choices are being collected
   */
  pick<V extends string>(group: string, sizes: string, candidates: readonly V[], trial: (variant: V) => void): V {
    const [first] = candidates as readonly [V, ...V[]];
    if (candidates.length === 1) return first;
    const key = `${group} ${sizes}`;
    for (const table of this.#tables) {
      const named = table[key] ?? table[group];
      if (named === GUESS) return first;
      const known = candidates.find((candidate) => candidate === named);
      if (known) return known;
    }
    if (this.#asked) this.#ask(key, candidates, trial as Trial);
    return first;
  }

  /**
   * What `choose` answers for a weight, asked once as long as the tables stay.
   *
   * @param kind says what but the weight the answer depends on
   */
  recall<V extends string>(weight: object, kind: number, choose: () => V): V {
    return this.#asked ? choose() : (this.#known.get(weight, kind, choose) as V);
  }

  /** The choices that `body` has to make without a table, in the order in which they come up. */
  async collect(body: () => Promise<unknown>): Promise<Question[]> {
    const asked = new Map<string, Question>();
    this.#asked = asked;
    try {
      await body();
    } finally {
      this.#asked = null;
    }
    return [...asked.values()];
  }

  #ask(key: string, candidates: readonly string[], trial: Trial): void {
    const question = this.#asked?.get(key);
    if (!question) this.#asked?.set(key, { key, candidates, trials: [trial] });
    else if (question.trials.length < TRIALS) question.trials.push(trial);
  }
}

/** Numbers of rows that share a choice: up to the next power of two, and from 33 on all of them. */
export const rowClass = (rows: number): number => (rows > 32 ? 64 : 2 ** Math.ceil(Math.log2(rows)));
