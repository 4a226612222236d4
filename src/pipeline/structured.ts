import { FastVLMError, InputError } from "../errors.ts";
import { encodeByteLevel } from "../text/byte_level.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { platform } from "./platform.ts";
import { regexGrammar } from "./structured_regex.ts";
import { either, literal, writeRules } from "./structured_rules.ts";
import { type JsonSchema, schemaGrammar } from "./structured_schema.ts";
import { canBeUtf8, Utf8Guard } from "./structured_utf8.ts";

/**
 * What an answer must look like as a whole. It does whenever its finish reason is `stop`; one that reaches `maxTokens` is a
 * beginning of such a text.
 *
 * - `json`: a JSON object.
 * - `json_schema`: JSON that is valid by the schema. Properties come in the schema's order; those it does not name only where
 *   `additionalProperties` is given. Keywords that cannot be guaranteed are refused. `pattern` is about the whole string.
 * - `regex`: a text that the pattern matches as a whole. JavaScript's syntax, without look-around, back-references and word
 *   boundaries; `\\s` is ASCII's white space, and `.` all but `\\n` and `\\r`.
 * - `choice`: one of these texts.
 */
export type AnswerFormat =
  | { readonly type: "json" }
  | { readonly type: "json_schema"; readonly schema: JsonSchema }
  | { readonly type: "regex"; readonly pattern: string }
  | { readonly type: "choice"; readonly choices: readonly string[] };

/** Says at every step of one answer which tokens may come next. */
export interface Constraint {
  /** Bit id % 32 of word id / 32 is set for ids that may be chosen; undefined allows all. */
  mask(): Uint32Array<ArrayBuffer> | undefined;
  /** Takes the chosen token; `mask` is about the next one when the promise has resolved. */
  accept(token: number): Promise<void>;
  /** The answer has ended with a stop token. */
  readonly done: boolean;
  /** Gives its memory back. */
  free(): void;
}

/** The part of XGrammar's interface that is used here. */
export interface GrammarLibrary {
  readonly TokenizerInfo: {
    createTokenizerInfo(
      vocabulary: string[],
      kind: string,
      space: boolean,
      size: number,
      stopTokens: number[],
    ): Promise<unknown>;
  };
  readonly GrammarCompiler: { createGrammarCompiler(info: unknown, cache: boolean): Promise<GrammarCompiler> };
  readonly GrammarMatcher: { createGrammarMatcher(grammar: CompiledGrammar, stopTokens: number[]): Promise<Matcher> };
}
interface GrammarCompiler {
  compileGrammar(grammar: string): Promise<CompiledGrammar>;
}
interface CompiledGrammar {
  dispose(): void;
}
interface Matcher {
  getNextTokenBitmask(): Promise<Int32Array<ArrayBuffer>>;
  acceptToken(token: number): boolean;
  isTerminated(): boolean;
  dispose(): void;
}

interface Compiled {
  readonly grammar: Promise<CompiledGrammar>;
  /** Answers that are just beginning: until they have, the grammar must stay. */
  users: number;
}

interface Prepared {
  readonly library: GrammarLibrary;
  readonly compiler: GrammarCompiler;
  readonly utf8: Utf8Guard;
  /** Grammars by their text, the latest last. */
  readonly compiled: Map<string, Compiled>;
}

const MAX_COMPILED = 16;
/** The library's view of a vocabulary takes a while to make, and serves all answers. */
const prepared = new WeakMap<Tokenizer, Promise<Prepared>>();

/**
 * Checks a format, without the grammar library.
 *
 * @returns the grammar
 * @throws InputError for a format, schema or pattern that is malformed or asks for something unsupported
 */
export function formatGrammar(format: AnswerFormat): string {
  switch (format?.type) {
    case "json":
      return schemaGrammar({ type: "object" });
    case "json_schema":
      return schemaGrammar(format.schema);
    case "regex":
      if (typeof format.pattern !== "string") throw new InputError("format: pattern: expected a string");
      return writeRules(new Map([["text", regexGrammar(format.pattern)]]));
    case "choice": {
      const { choices } = format;
      const isText = (choice: unknown): boolean =>
        typeof choice === "string" && choice !== "" && !choice.includes("\0");
      if (!Array.isArray(choices) || choices.length === 0 || !choices.every(isText)) {
        throw new InputError("format: choices: expected texts that are not empty, at least one");
      }
      return writeRules(new Map([["text", either(...choices.map(literal))]]));
    }
    default: {
      const type = JSON.stringify((format as { type?: unknown } | null | undefined)?.type);
      throw new InputError(`format: type: expected json, json_schema, regex or choice, got ${type}`);
    }
  }
}

/**
 * The constraint that a format puts on one answer. The grammar library is loaded at the first call.
 *
 * @throws InputError for a format that is malformed or unsupported, FastVLMError when the library is not installed
 */
export async function constrain(
  format: AnswerFormat,
  tokenizer: Tokenizer,
  stopTokens: ReadonlySet<number>,
): Promise<Constraint> {
  const grammar = formatGrammar(format);
  const stops = [...stopTokens].filter((id) => id < tokenizer.vocabSize);
  const ready = prepared.get(tokenizer) ?? prepare(tokenizer, stops);
  prepared.set(tokenizer, ready);
  try {
    const { library, compiler, compiled, utf8 } = await ready;
    const entry = compiled.get(grammar) ?? { grammar: compiler.compileGrammar(grammar), users: 0 };
    entry.users++;
    remember(compiled, grammar, entry);
    try {
      const matcher = await library.GrammarMatcher.createGrammarMatcher(await entry.grammar, stops);
      return await GrammarConstraint.begin(matcher, utf8);
    } finally {
      entry.users--;
    }
  } catch (cause) {
    // After a failure WebAssembly's state is in doubt: the next answer gets a new instance.
    prepared.delete(tokenizer);
    if (cause instanceof FastVLMError) throw cause;
    throw new InputError(`format: the grammar library refuses it: ${String(cause)}`, { cause });
  }
}

async function prepare(tokenizer: Tokenizer, stops: number[]): Promise<Prepared> {
  if (!tokenizer.byteLevel) {
    throw new InputError("format: expected a byte-level vocabulary, such as those of Qwen2 and Phi-4");
  }
  const library = await platform().loadGrammarLibrary();
  // Tokens without text are never allowed: markup, bytes that no text has, and ids that are none.
  const vocabulary = Array.from({ length: tokenizer.vocabSize }, (_, id) => {
    const bytes = tokenizer.bytesOf(id);
    return tokenizer.isSpecial(id) || stops.includes(id) || !canBeUtf8(bytes) ? "" : encodeByteLevel(bytes);
  });
  const size = vocabulary.length;
  const info = await library.TokenizerInfo.createTokenizerInfo(vocabulary, "byte_level", false, size, stops);
  const compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
  return { library, compiler, utf8: new Utf8Guard(tokenizer), compiled: new Map() };
}

/** Keeps a compiled grammar as the latest, and lets go of the oldest; matchers hold on to theirs by themselves. */
function remember(compiled: Map<string, Compiled>, text: string, entry: Compiled): void {
  compiled.delete(text);
  compiled.set(text, entry);
  const oldest = [...compiled].find(([, { users }]) => users === 0);
  if (compiled.size <= MAX_COMPILED || !oldest) return;
  compiled.delete(oldest[0]);
  void oldest[1].grammar.then((unused) => unused.dispose());
}

class GrammarConstraint implements Constraint {
  readonly #matcher: Matcher;
  readonly #utf8: Utf8Guard;
  #pending: Uint8Array = new Uint8Array(0);
  #mask: Uint32Array<ArrayBuffer> | undefined;
  #freed = false;
  done = false;

  private constructor(matcher: Matcher, utf8: Utf8Guard) {
    this.#matcher = matcher;
    this.#utf8 = utf8;
  }

  static async begin(matcher: Matcher, utf8: Utf8Guard): Promise<GrammarConstraint> {
    const constraint = new GrammarConstraint(matcher, utf8);
    await constraint.#advance();
    return constraint;
  }

  mask(): Uint32Array<ArrayBuffer> | undefined {
    return this.#mask;
  }

  async accept(token: number): Promise<void> {
    if (this.done) throw new InputError("constraint: the answer has ended");
    if (!this.#matcher.acceptToken(token)) throw new InputError(`constraint: token ${token} is not allowed here`);
    this.done = this.#matcher.isTerminated();
    if (this.done) return;
    this.#pending = this.#utf8.after(this.#pending, token);
    await this.#advance();
  }

  free(): void {
    if (!this.#freed) this.#matcher.dispose();
    this.#freed = true;
  }

  async #advance(): Promise<void> {
    const bits = await this.#matcher.getNextTokenBitmask();
    this.#mask = new Uint32Array(bits.buffer, bits.byteOffset, bits.length);
    this.#utf8.restrict(this.#mask, this.#pending);
  }
}
