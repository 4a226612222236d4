import type { Tokenizer } from "../text/tokenizer.ts";
import { nextTask } from "./next_task.ts";
import type { Automaton, State } from "./structured_automaton.ts";

/** A token's bytes, as characters of one byte each, and its id. */
type Spelt = readonly [text: string, id: number];

/** Tokens as a tree of their bytes, in the order of a walk through it: siblings are skipped together. */
export class VocabularyTree {
  readonly #size: number;
  #bytes: Uint8Array;
  /** Number of bytes up to and with each node. */
  #depth: Uint16Array;
  /** The node after all that begin with this one. */
  #skip: Int32Array;
  /** A token that ends at the node, and by token the next one that does; -1 where there is none. */
  #token: Int32Array;
  readonly #same: Int32Array;
  #nodes = 0;

  /**
   * The tree of a vocabulary. Built in parts: a large one takes a second, for which a page would stand still.
   *
   * @param excluded ids left out besides markup and ids without bytes
   */
  static async of(tokenizer: Tokenizer, excluded: ReadonlySet<number>): Promise<VocabularyTree> {
    const rest = new Rest();
    const spelt: Spelt[] = [];
    let most = 0;
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      if (id % PART === 0) await rest.whenDue();
      const bytes = tokenizer.isSpecial(id) || excluded.has(id) ? [] : tokenizer.bytesOf(id);
      if (bytes.length > 0) spelt.push([String.fromCharCode(...bytes), id]);
      most += bytes.length;
    }
    const tree = new VocabularyTree(tokenizer.vocabSize, most);
    const open: number[] = [];
    let last = "";
    for (const [i, [text, id]] of (await sorted(spelt, rest)).entries()) {
      if (i % PART === 0) await rest.whenDue();
      tree.#add(text, id, last, open);
      last = text;
    }
    tree.#close(open, 0);
    tree.#fit();
    return tree;
  }

  /** @param most nodes there can be */
  private constructor(size: number, most: number) {
    this.#size = size;
    this.#bytes = new Uint8Array(most);
    this.#depth = new Uint16Array(most);
    this.#skip = new Int32Array(most);
    this.#token = new Int32Array(most).fill(-1);
    this.#same = new Int32Array(size).fill(-1);
  }

  /**
   * Adds the token that comes after `last` in order.
   *
   * @param open nodes of the bytes of `last`
   */
  #add(text: string, id: number, last: string, open: number[]): void {
    let common = 0;
    while (common < last.length && last[common] === text[common]) common++;
    this.#close(open, common);
    for (let i = common; i < text.length; i++) {
      open.push(this.#nodes);
      this.#bytes[this.#nodes] = text.charCodeAt(i);
      this.#depth[this.#nodes] = i + 1;
      this.#nodes++;
    }
    const at = open.at(-1)!;
    this.#same[id] = this.#token[at]!;
    this.#token[at] = id;
  }

  /** Nothing more begins with the nodes beyond the first `kept`. */
  #close(open: number[], kept: number): void {
    while (open.length > kept) this.#skip[open.pop()!] = this.#nodes;
  }

  /** Tokens share beginnings: far fewer nodes came than room was made for. */
  #fit(): void {
    this.#bytes = this.#bytes.slice(0, this.#nodes);
    this.#depth = this.#depth.slice(0, this.#nodes);
    this.#skip = this.#skip.slice(0, this.#nodes);
    this.#token = this.#token.slice(0, this.#nodes);
  }

  /** Tokens that lead on from a state, as bits. */
  allowed(automaton: Automaton, from: State): Uint32Array<ArrayBuffer> {
    const mask = new Uint32Array(Math.ceil(this.#size / 32));
    const path: State[] = [from];
    for (let i = 0; i < this.#bytes.length; ) {
      const depth = this.#depth[i]!;
      const state = automaton.step(path[depth - 1]!, this.#bytes[i]!);
      if (state === null) {
        i = this.#skip[i]!;
        continue;
      }
      path[depth] = state;
      for (let id = this.#token[i]!; id >= 0; id = this.#same[id]!) mask[id >>> 5]! |= 1 << (id & 31);
      i++;
    }
    return mask;
  }
}

/** Tokens between two looks at the clock. */
const PART = 256;
/** Work in ms after which others get a turn. */
const DUE_MS = 8;

/** Interrupts long work now and then, for whatever else waits for the thread. */
class Rest {
  #since = performance.now();

  async whenDue(): Promise<void> {
    if (performance.now() - this.#since < DUE_MS) return;
    await nextTask();
    this.#since = performance.now();
  }
}

const byBytes = ([a, x]: Spelt, [b, y]: Spelt): number => (a < b ? -1 : a > b ? 1 : x - y);

/** By merging: a sort of all could not be interrupted. */
async function sorted(list: readonly Spelt[], rest: Rest): Promise<readonly Spelt[]> {
  let runs: Spelt[][] = [];
  for (let i = 0; i < list.length; i += PART) {
    await rest.whenDue();
    runs.push(list.slice(i, i + PART).sort(byBytes));
  }
  while (runs.length > 1) {
    const longer: Spelt[][] = [];
    for (let i = 0; i < runs.length; i += 2) longer.push(await merged(runs[i]!, runs[i + 1] ?? [], rest));
    runs = longer;
  }
  return runs[0] ?? [];
}

async function merged(a: readonly Spelt[], b: readonly Spelt[], rest: Rest): Promise<Spelt[]> {
  const all: Spelt[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (all.length % PART === 0) await rest.whenDue();
    const first = j === b.length || (i < a.length && byBytes(a[i]!, b[j]!) < 0);
    all.push(first ? a[i++]! : b[j++]!);
  }
  return all;
}
