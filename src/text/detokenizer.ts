import type { Tokenizer } from "./tokenizer.ts";

/** Tokens of a vocabulary without bytes that are held back at most, waiting for a whole character. */
const MAX_PENDING = 16;

/** Turns token ids into text as they arrive, without ever giving out half a character. */
export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #specials: boolean;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** Without bytes: recent ids, and how many of them have already been given out as text. */
  #ids: number[] = [];
  #given = 0;

  /** @param options.specials whether to spell out special tokens. Default false */
  constructor(tokenizer: Tokenizer, options: { specials?: boolean } = {}) {
    this.#tokenizer = tokenizer;
    this.#specials = options.specials ?? false;
  }

  /** The text that this token completes; "" while a character is incomplete, and for special tokens. */
  push(id: number): string {
    if (!this.#specials && this.#tokenizer.isSpecial(id)) return "";
    if (this.#tokenizer.byteLevel) return this.#decoder.decode(this.#tokenizer.bytesOf(id), { stream: true });
    this.#ids.push(id);
    return this.#decodeTail(this.#ids.length - this.#given > MAX_PENDING);
  }

  /** The text that was held back; an incomplete character becomes U+FFFD. Afterwards a new text can begin. */
  flush(): string {
    const rest = this.#tokenizer.byteLevel ? this.#decoder.decode() : this.#decodeTail(true);
    this.#ids = [];
    this.#given = 0;
    return rest;
  }

  /**
   * What the recent tokens add to the text. They are decoded together with the ones before, since a token's text
   * depends on its left neighbour (a leading space, the bytes of one character).
   */
  #decodeTail(force: boolean): string {
    const options = { specials: this.#specials };
    const before = this.#tokenizer.decode(this.#ids.slice(0, this.#given), options);
    const all = this.#tokenizer.decode(this.#ids, options);
    if (!force && (all.length <= before.length || all.endsWith("\ufffd"))) return "";
    this.#ids = this.#ids.slice(this.#given);
    this.#given = this.#ids.length;
    return all.slice(before.length);
  }
}
