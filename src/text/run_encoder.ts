import type { Tokenizer } from "./tokenizer.ts";

/**
 * Collects text and markup, and encodes each run between special tokens at once.
 *
 * So words that cross from markup into text become the same tokens as if the whole prompt had been one string.
 * `Slot` is what may stand between tokens, such as the place of an image.
 */
export class RunEncoder<Slot> {
  readonly #tokenizer: Tokenizer;
  readonly #tokens: (number | Slot)[] = [];
  #run = "";
  #stripStart = false;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** Adds text in which nothing is special. */
  text(text: string): void {
    this.#run += text;
  }

  /** Adds text in which names of added tokens stand for these tokens. */
  markup(text: string): void {
    for (const piece of this.#tokenizer.splitMarkup(text)) {
      if (typeof piece === "string") this.#run += piece;
      else {
        if (piece.lstrip) this.#run = this.#run.trimEnd();
        this.token(piece.id);
        this.#stripStart = piece.rstrip;
      }
    }
  }

  token(token: number | Slot): void {
    this.#flush();
    this.#tokens.push(token);
  }

  finish(): (number | Slot)[] {
    this.#flush();
    return this.#tokens;
  }

  #flush(): void {
    const run = this.#stripStart ? this.#run.trimStart() : this.#run;
    for (const id of this.#tokenizer.encodeRun(run, this.#tokens.length === 0)) this.#tokens.push(id);
    this.#run = "";
    this.#stripStart = false;
  }
}
