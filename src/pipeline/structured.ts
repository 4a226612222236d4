import { InputError } from "../errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { Automaton, type State } from "./structured_automaton.ts";
import { regexGrammar } from "./structured_regex.ts";
import { either, type Grammar, literal } from "./structured_rules.ts";
import { type JsonSchema, schemaGrammar } from "./structured_schema.ts";
import { VocabularyTree } from "./structured_vocabulary.ts";

/**
 * What an answer must look like as a whole. It does whenever its finish reason is `stop`; one that reaches `maxTokens` is a
 * beginning of such a text.
 *
 * - `json`: a JSON object.
 * - `json_schema`: JSON that is valid by the schema. Properties come in the schema's order; those it does not name only where
 *   `additionalProperties` is given. Keywords that cannot be guaranteed are refused. `pattern` is about the whole string.
 * - `regex`: a text that the pattern matches as a whole. JavaScript's syntax with the flag `u`, without look-around,
 *   back-references, word boundaries and Unicode properties.
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
  /** Takes the chosen token. */
  accept(token: number): void;
  /** The answer has ended with a stop token. */
  readonly done: boolean;
}

/**
 * The grammar of a format.
 *
 * @throws InputError for a format, schema or pattern that is malformed or asks for something unsupported
 */
export function formatGrammar(format: AnswerFormat): Grammar {
  switch (format?.type) {
    case "json":
      return schemaGrammar({ type: "object" });
    case "json_schema":
      return schemaGrammar(format.schema);
    case "regex":
      if (typeof format.pattern !== "string") throw new InputError("format: pattern: expected a string");
      return new Map([["text", regexGrammar(format.pattern)]]);
    case "choice": {
      const { choices } = format;
      const isText = (choice: unknown): boolean => typeof choice === "string" && choice !== "";
      if (!Array.isArray(choices) || choices.length === 0 || !choices.every(isText)) {
        throw new InputError("format: choices: expected texts that are not empty, at least one");
      }
      return new Map([["text", either(...choices.map(literal))]]);
    }
    default: {
      const type = JSON.stringify((format as { type?: unknown } | null | undefined)?.type);
      throw new InputError(`format: type: expected json, json_schema, regex or choice, got ${type}`);
    }
  }
}

/** A format in use: what one answer learns about it serves the next. */
interface Prepared {
  readonly automaton: Automaton;
  /** Masks by state, the latest last. */
  readonly masks: Map<State, Uint32Array<ArrayBuffer>>;
}

const MAX_MASKS = 128;
const MAX_PREPARED = 8;
const trees = new WeakMap<Tokenizer, Promise<VocabularyTree>>();
const prepared = new WeakMap<Tokenizer, Map<string, Prepared>>();

/**
 * The constraint that a format puts on one answer. The first for a vocabulary takes a moment longer.
 *
 * @param stopTokens ids that end an answer; at least one
 * @throws InputError for a format that is malformed or unsupported, and for vocabularies whose tokens are not bytes
 */
export async function constrain(
  format: AnswerFormat,
  tokenizer: Tokenizer,
  stopTokens: ReadonlySet<number>,
): Promise<Constraint> {
  const grammar = formatGrammar(format);
  if (!tokenizer.byteLevel) {
    throw new InputError("format: expected a byte-level vocabulary, such as those of Qwen2 and Phi-4");
  }
  const stops = new Set([...stopTokens].filter((id) => id < tokenizer.vocabSize));
  if (stops.size === 0) throw new InputError("format: expected a vocabulary with a token that ends answers");
  const tree = await treeOf(tokenizer, stops);
  const formats = prepared.get(tokenizer) ?? new Map<string, Prepared>();
  prepared.set(tokenizer, formats);
  const key = JSON.stringify(format);
  const known = formats.get(key) ?? { automaton: new Automaton(grammar), masks: new Map() };
  keepLatest(formats, key, known, MAX_PREPARED);
  return new GrammarConstraint(tokenizer, tree, stops, known);
}

/** Answers that begin meanwhile wait for the same tree. */
function treeOf(tokenizer: Tokenizer, stops: ReadonlySet<number>): Promise<VocabularyTree> {
  const known = trees.get(tokenizer);
  if (known) return known;
  const tree = VocabularyTree.of(tokenizer, stops);
  trees.set(tokenizer, tree);
  tree.catch(() => trees.delete(tokenizer)); // such as for want of memory: the next answer tries again
  return tree;
}

/** Puts an entry last, and forgets the first when there are too many. */
function keepLatest<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most) map.delete(oldest!);
}

class GrammarConstraint implements Constraint {
  readonly #tokenizer: Tokenizer;
  readonly #tree: VocabularyTree;
  readonly #stops: ReadonlySet<number>;
  readonly #format: Prepared;
  #state: State;
  done = false;

  constructor(tokenizer: Tokenizer, tree: VocabularyTree, stops: ReadonlySet<number>, format: Prepared) {
    this.#tokenizer = tokenizer;
    this.#tree = tree;
    this.#stops = stops;
    this.#format = format;
    this.#state = format.automaton.start;
  }

  mask(): Uint32Array<ArrayBuffer> {
    const { automaton, masks } = this.#format;
    let mask = masks.get(this.#state);
    if (!mask) {
      mask = this.#tree.allowed(automaton, this.#state);
      if (this.#state.accepts) for (const id of this.#stops) mask[id >>> 5]! |= 1 << (id & 31);
      if (mask.every((word) => word === 0)) throw new InputError("format: no token of the vocabulary can come next");
    }
    keepLatest(masks, this.#state, mask, MAX_MASKS);
    return mask;
  }

  accept(token: number): void {
    if (this.done) throw new InputError("format: the answer has ended");
    if (this.#stops.has(token)) {
      if (!this.#state.accepts) throw new InputError("format: the answer cannot end here");
      this.done = true;
      return;
    }
    const bytes = this.#tokenizer.isSpecial(token) ? [] : this.#tokenizer.bytesOf(token);
    let state: State | null = bytes.length > 0 ? this.#state : null;
    for (const byte of bytes) state = state && this.#format.automaton.step(state, byte);
    if (!state) throw new InputError(`format: token ${token} is not allowed here`);
    this.#state = state;
  }
}
