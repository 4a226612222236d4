import { InputError } from "../errors.ts";
import { type CharSet, charSet, complement, DIGIT, LINE_END, SPACE, WORD } from "./structured_chars.ts";
import { type Expression, either, inOrder, NOTHING, oneOf, times } from "./structured_rules.ts";

/** Repetitions past this are refused: the grammar would grow with them. */
const MAX_REPEAT = 1000;
const CLASSES: Readonly<Record<string, CharSet>> = { d: DIGIT, w: WORD, s: SPACE };
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11 };

/**
 * A regular expression in JavaScript's syntax as a grammar for all of a text: `^` and `$` at the ends change nothing.
 *
 * @param char how one character of a set is written
 * @throws InputError for bad syntax, and what regular languages lack: look-around, back-references, word boundaries
 */
export function regexGrammar(pattern: string, char: (set: CharSet) => Expression = oneOf): Expression {
  try {
    new RegExp(pattern, "u");
  } catch (cause) {
    throw new InputError(`regex: ${(cause as Error).message}`, { cause });
  }
  return new RegexReader(pattern, char).read();
}

/** Reads a pattern that is known to be well-formed. */
class RegexReader {
  readonly #pattern: string;
  readonly #chars: readonly string[];
  readonly #write: (set: CharSet) => Expression;
  #at = 0;

  constructor(pattern: string, char: (set: CharSet) => Expression) {
    this.#pattern = pattern;
    this.#chars = Array.from(pattern);
    this.#write = (set) => char(set.length > 0 ? set : this.#refuse("an empty class"));
  }

  read(): Expression {
    return this.#alternatives(true);
  }

  #refuse(what: string): never {
    throw new InputError(`regex: ${JSON.stringify(this.#pattern)}: ${what} is not supported`);
  }

  #take(text: string): boolean {
    const found = this.#chars.slice(this.#at, this.#at + text.length).join("") === text;
    if (found) this.#at += text.length;
    return found;
  }

  #alternatives(outermost: boolean): Expression {
    const options = [this.#sequence(outermost)];
    while (this.#take("|")) options.push(this.#sequence(outermost));
    return either(...options);
  }

  #sequence(outermost: boolean): Expression {
    const parts: Expression[] = [];
    if (outermost) this.#take("^");
    for (
      let next = this.#chars[this.#at];
      next !== undefined && next !== "|" && next !== ")";
      next = this.#chars[this.#at]
    ) {
      const follows = this.#chars[this.#at + 1];
      if (outermost && next === "$" && (follows === undefined || follows === "|")) this.#at++;
      else parts.push(this.#repeated(this.#atom()));
    }
    return parts.length > 0 ? inOrder(...parts) : NOTHING;
  }

  #repeated(atom: Expression): Expression {
    let range: [number, number] | undefined;
    if (this.#take("*")) range = [0, Number.POSITIVE_INFINITY];
    else if (this.#take("+")) range = [1, Number.POSITIVE_INFINITY];
    else if (this.#take("?")) range = [0, 1];
    else if (this.#take("{")) {
      const end = this.#chars.indexOf("}", this.#at);
      const [from = "", to = from] = this.#chars.slice(this.#at, end).join("").split(",");
      range = [Number(from), to === "" ? Number.POSITIVE_INFINITY : Number(to)];
      this.#at = end + 1;
      if (range.some((count) => count > MAX_REPEAT && count !== Number.POSITIVE_INFINITY)) {
        this.#refuse(`a repetition of more than ${MAX_REPEAT}`);
      }
    }
    if (!range) return atom;
    this.#take("?"); // lazy or not, the language is the same
    return times(atom, ...range);
  }

  #atom(): Expression {
    if (this.#take("(")) {
      if (this.#take("?:") || !this.#take("?")) return this.#group();
      if (!this.#take("<") || this.#take("=") || this.#take("!")) this.#refuse("look-around");
      while (!this.#take(">")) this.#at++;
      return this.#group();
    }
    if (this.#take("[")) return this.#write(this.#class());
    if (this.#take(".")) return this.#write(complement(LINE_END));
    if (this.#take("^") || this.#take("$")) this.#refuse("an anchor inside");
    return this.#write(this.#member(false));
  }

  #group(): Expression {
    const inner = this.#alternatives(false);
    this.#at++;
    return inner;
  }

  #class(): CharSet {
    const negated = this.#take("^");
    const sets: CharSet[] = [];
    while (!this.#take("]")) {
      const from = this.#member(true);
      if (this.#chars[this.#at] === "-" && this.#chars[this.#at + 1] !== "]") {
        this.#at++;
        sets.push([[from[0]![0], this.#member(true)[0]![1]]]);
      } else sets.push(from);
    }
    const all = sets.flat();
    return negated ? complement(all) : complement(complement(all));
  }

  /** A character or an escape, as a set. */
  #member(inClass: boolean): CharSet {
    const char = this.#chars[this.#at++]!;
    if (char !== "\\") return charSet(char);
    const kind = this.#chars[this.#at++]!;
    const known = CLASSES[kind.toLowerCase()];
    if (known) return kind === kind.toLowerCase() ? known : complement(known);
    if (kind in CONTROLS) return [[CONTROLS[kind]!, CONTROLS[kind]!]];
    if (kind === "x" || kind === "u") return charSet(String.fromCodePoint(this.#hex(kind)));
    if (inClass && kind === "b") return charSet("\b");
    if (/[A-Za-z0-9]/.test(kind)) this.#refuse(`\\${kind}`);
    return charSet(kind);
  }

  #hex(kind: "x" | "u"): number {
    const braced = this.#take("{");
    const length = braced ? this.#chars.indexOf("}", this.#at) - this.#at : kind === "x" ? 2 : 4;
    const code = Number.parseInt(this.#chars.slice(this.#at, this.#at + length).join(""), 16);
    this.#at += length + (braced ? 1 : 0);
    return code >= 0xd800 && code <= 0xdfff ? this.#refuse("a surrogate") : code;
  }
}
