import type { Tokenizer } from "../text/tokenizer.ts";
import type { Automaton, State } from "./structured_automaton.ts";

/** Tokens as a tree of their bytes, in the order of a walk through it: siblings are skipped together. */
export class VocabularyTree {
  readonly #size: number;
  readonly #bytes: Uint8Array;
  /** Number of bytes up to and with each node. */
  readonly #depth: Uint16Array;
  /** The node after all that begin with this one. */
  readonly #skip: Int32Array;
  /** A token that ends at the node, and by token the next one that does; -1 where there is none. */
  readonly #token: Int32Array;
  readonly #same: Int32Array;

  /** @param excluded ids left out besides markup and ids without bytes */
  constructor(tokenizer: Tokenizer, excluded: ReadonlySet<number>) {
    this.#size = tokenizer.vocabSize;
    const ids: number[] = [];
    for (let id = 0; id < this.#size; id++) {
      if (!tokenizer.isSpecial(id) && !excluded.has(id) && tokenizer.bytesOf(id).length > 0) ids.push(id);
    }
    const spelt = ids.map((id): [string, number] => [String.fromCharCode(...tokenizer.bytesOf(id)), id]);
    spelt.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x - y));
    const [bytes, depth, skip, token]: number[][] = [[], [], [], []];
    this.#same = new Int32Array(this.#size).fill(-1);
    const open: number[] = [];
    let last = "";
    for (const [text, id] of spelt) {
      let common = 0;
      while (common < last.length && last[common] === text[common]) common++;
      while (open.length > common) skip![open.pop()!] = bytes!.length;
      for (let i = common; i < text.length; i++) {
        open.push(bytes!.length);
        bytes!.push(text.charCodeAt(i));
        depth!.push(i + 1);
        token!.push(-1);
      }
      const at = open.at(-1)!;
      this.#same[id] = token![at]!;
      token![at] = id;
      last = text;
    }
    while (open.length > 0) skip![open.pop()!] = bytes!.length;
    this.#bytes = Uint8Array.from(bytes!);
    this.#depth = Uint16Array.from(depth!);
    this.#skip = Int32Array.from(skip!);
    this.#token = Int32Array.from(token!);
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
