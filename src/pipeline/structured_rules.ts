// Grammars as expressions, and how they are written for XGrammar: rules without anything that may be empty. It accepts texts
// outside of a grammar where alternatives begin alike and go on with something empty; so emptiness is worked out here.

/** What a part of a text may be. */
export type Expression =
  | { readonly kind: "terminal"; readonly text: string }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "either"; readonly options: readonly Expression[] }
  | { readonly kind: "times"; readonly of: Expression; readonly from: number; readonly to: number }
  | { readonly kind: "rule"; readonly name: string };

/** One character or more, in the notation of the EBNF that XGrammar reads. */
export const terminal = (text: string): Expression => ({ kind: "terminal", text });

/** A character as it may be written in literals and classes. */
export const escapedChar = (code: number): string => {
  const char = String.fromCodePoint(code);
  if (/[A-Za-z0-9 ]/.test(char)) return char;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
};

/** The empty text. */
export const NOTHING: Expression = { kind: "sequence", parts: [] };

/** Exactly this text. */
export const literal = (text: string): Expression =>
  text === "" ? NOTHING : terminal(`"${Array.from(text, (char) => escapedChar(char.codePointAt(0)!)).join("")}"`);

export const inOrder = (...parts: readonly Expression[]): Expression => ({ kind: "sequence", parts });

export const either = (...options: readonly Expression[]): Expression =>
  options.length === 1 ? options[0]! : { kind: "either", options };

export const times = (of: Expression, from: number, to: number): Expression => ({ kind: "times", of, from, to });

export const maybe = (of: Expression): Expression => times(of, 0, 1);

export const rule = (name: string): Expression => ({ kind: "rule", name });

/** Rules by name as XGrammar's EBNF; the first is the root. */
export function writeRules(rules: ReadonlyMap<string, Expression>): string {
  return new RuleWriter(rules).write();
}

class RuleWriter {
  readonly #rules: ReadonlyMap<string, Expression>;
  /** Names of rules that may be empty. */
  readonly #nullable = new Set<string>();
  readonly #lines: string[] = [];
  /** Rules made for expressions on the way, by expression. */
  readonly #made = new Map<Expression, string>();

  constructor(rules: ReadonlyMap<string, Expression>) {
    this.#rules = rules;
    for (let before = -1; before !== this.#nullable.size; ) {
      before = this.#nullable.size;
      for (const [name, body] of rules) if (this.#mayBeEmpty(body)) this.#nullable.add(name);
    }
  }

  write(): string {
    const [root] = this.#rules.keys();
    for (const [name, body] of this.#rules) {
      const options = this.#options(body);
      if (options.length > 0) this.#lines.push(`${name} ::= ${options.join(" | ")}`);
    }
    const empty = this.#nullable.has(root!) ? ' | ""' : "";
    return [`root ::= ${root}${empty}`, ...this.#lines].join("\n");
  }

  #mayBeEmpty(body: Expression): boolean {
    switch (body.kind) {
      case "terminal":
        return false;
      case "sequence":
        return body.parts.every((part) => this.#mayBeEmpty(part));
      case "either":
        return body.options.some((option) => this.#mayBeEmpty(option));
      case "times":
        return body.from === 0 || this.#mayBeEmpty(body.of);
      case "rule":
        return this.#nullable.has(body.name);
    }
  }

  /** The texts of an expression that are not empty, as alternatives; none where there are no such texts. */
  #options(body: Expression): string[] {
    switch (body.kind) {
      case "terminal":
        return [body.text];
      case "rule":
        return [body.name];
      case "either":
        return body.options.flatMap((option) => this.#options(option));
      case "sequence":
        return this.#sequence(body.parts);
      case "times":
        return this.#times(body);
    }
  }

  #sequence(parts: readonly Expression[]): string[] {
    let options: string[] = [];
    let restMayBeEmpty = true;
    for (const part of parts.toReversed()) {
      const first = this.#one(part);
      const rest = options.length > 1 ? this.#rule(options) : options[0];
      const partMayBeEmpty = this.#mayBeEmpty(part);
      options = [
        ...(first && rest ? [`${first} ${rest}`] : []),
        ...(first && restMayBeEmpty ? [first] : []),
        ...(rest && partMayBeEmpty ? [rest] : []),
      ];
      restMayBeEmpty &&= partMayBeEmpty;
    }
    return options;
  }

  #times({ of, from, to }: Expression & { kind: "times" }): string[] {
    const one = this.#one(of);
    if (one === undefined || to === 0) return [];
    const least = this.#mayBeEmpty(of) ? 0 : from;
    let options: string[];
    if (to === Number.POSITIVE_INFINITY) {
      const name = `n${this.#lines.length}`;
      this.#lines.push(`${name} ::= ${one} ${name} | ${one}`);
      options = [name];
    } else options = [one];
    // What may follow i of them, from the last backwards.
    const last = to === Number.POSITIVE_INFINITY ? Math.max(0, least - 1) : to - 1;
    for (let i = last - 1; i >= 0; i--) {
      const rest = options.length > 1 ? this.#rule(options) : options[0];
      options = [`${one} ${rest}`, ...(i + 1 >= least ? [one] : [])];
    }
    return options;
  }

  /** The texts that are not empty as one symbol. */
  #one(body: Expression): string | undefined {
    if (body.kind === "terminal") return body.text;
    if (body.kind === "rule") return body.name;
    const known = this.#made.get(body);
    if (known) return known;
    const options = this.#options(body);
    if (options.length === 0) return undefined;
    const name = options.length === 1 ? options[0]! : this.#rule(options);
    this.#made.set(body, name);
    return name;
  }

  #rule(options: readonly string[]): string {
    const name = `n${this.#lines.length}`;
    this.#lines.push(`${name} ::= ${options.join(" | ")}`);
    return name;
  }
}
