import { TextError } from "../errors.ts";
import { isObject, type JsonObject, parseObject, type TextFiles } from "./files.ts";
import { whyEndless } from "./regex_guard.ts";

/** A token that is found in the text before the model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Marks structure (turns, images), and is left out of answers. */
  readonly special: boolean;
  /** Swallows the white space before or after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** The checked contents of a `tokenizer.json`. */
export interface TokenizerJson {
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: JsonObject | null;
  readonly preTokenizer: JsonObject | null;
  readonly decoder: JsonObject | null;
  readonly model: JsonObject;
}

/** Larger ids would be an error in the file; the largest vocabulary in use has 262,144. */
const MAX_ID = 1 << 24;
const MAX_DEPTH = 16;
const MAX_STAGES = 256;

/**
 * Reads a checkpoint's tokenizer and checks everything that the tokenizer library takes on trust.
 *
 * Old checkpoints (LLaVA's among them) have no `tokenizer.json` but `vocab.json` and `merges.txt`; those are taken to be
 * Qwen2's.
 *
 * @throws TextError naming the file and the setting that is missing, malformed or not supported
 */
export function readTokenizer(files: TextFiles): TokenizerJson {
  const config = files["tokenizer_config.json"];
  const settings = config === undefined ? {} : parseObject("tokenizer_config.json", config);
  const text = files["tokenizer.json"];
  const name = text === undefined ? "vocab.json and merges.txt" : "tokenizer.json";
  const json = text === undefined ? fromVocabulary(files, settings) : parseObject(name, text);

  const model = json.model;
  if (!isObject(model)) throw new TextError(`${name}: model: expected an object`);
  checkModel(name, model);
  return {
    addedTokens: mergeAddedTokens(readAddedTokens(name, json.added_tokens), settings),
    normalizer: readStages(name, "normalizer", json.normalizer),
    preTokenizer: readStages(name, "pre_tokenizer", json.pre_tokenizer),
    decoder: readStages(name, "decoder", json.decoder),
    model,
  };
}

const isId = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < MAX_ID;

function checkModel(name: string, model: JsonObject): void {
  const { type = "BPE", vocab, merges, continuing_subword_prefix: prefix, unk_token: unknown } = model;
  if (type !== "BPE") throw new TextError(`${name}: model.type: expected "BPE", got ${JSON.stringify(type)}`);
  if (!isObject(vocab)) throw new TextError(`${name}: model.vocab: expected an object of token ids`);
  const wrong = Object.entries(vocab).find(([, id]) => !isId(id));
  if (wrong)
    throw new TextError(`${name}: model.vocab: expected an id for ${JSON.stringify(wrong[0])}, got ${wrong[1]}`);
  if (!Array.isArray(merges)) throw new TextError(`${name}: model.merges: expected a list`);
  const asPairs = Array.isArray(merges[0]);
  const isMerge = (merge: unknown) =>
    asPairs
      ? Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string")
      : typeof merge === "string" && merge.includes(" ");
  const bad = merges.findIndex((merge) => !isMerge(merge));
  if (bad >= 0)
    throw new TextError(`${name}: model.merges[${bad}]: expected two tokens, got ${JSON.stringify(merges[bad])}`);
  if (prefix !== undefined && prefix !== null && prefix !== "") {
    throw new TextError(`${name}: model.continuing_subword_prefix: not supported, got ${JSON.stringify(prefix)}`);
  }
  if (unknown !== undefined && unknown !== null && typeof unknown !== "string") {
    throw new TextError(`${name}: model.unk_token: expected a token, got ${JSON.stringify(unknown)}`);
  }
}

function readAddedTokens(name: string, list: unknown): AddedToken[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw new TextError(`${name}: added_tokens: expected a list`);
  return list.map((token: unknown, i) => {
    const id = isObject(token) ? token.id : undefined;
    const added = toAddedToken(id, token);
    if (!added) throw new TextError(`${name}: added_tokens[${i}]: expected an id and a content`);
    return added;
  });
}

function toAddedToken(id: unknown, token: unknown): AddedToken | undefined {
  if (!isObject(token) || !isId(id) || typeof token.content !== "string" || token.content === "") return undefined;
  const { content, special, lstrip, rstrip } = token;
  return { id, content, special: special === true, lstrip: lstrip === true, rstrip: rstrip === true };
}

/** Adds the tokens that only `tokenizer_config.json` knows, as transformers does. */
function mergeAddedTokens(tokens: AddedToken[], settings: JsonObject): AddedToken[] {
  const listed = settings.added_tokens_decoder;
  const known = new Set(tokens.map(({ content }) => content));
  const more = Object.entries(isObject(listed) ? listed : {})
    .map(([id, token]) => toAddedToken(Number(id), token))
    .filter((token) => token !== undefined && !known.has(token.content));
  return [...tokens, ...(more as AddedToken[])];
}

/** Checks a chain of normalizers, pre-tokenizers or decoders: its shape, and that each of its patterns comes to an end. */
function readStages(name: string, key: string, root: unknown): JsonObject | null {
  let stages = 0;
  const check = (value: unknown, path: string, depth: number): void => {
    if (typeof value !== "object" || value === null) return;
    if (depth > MAX_DEPTH || ++stages > MAX_STAGES) throw new TextError(`${name}: ${path}: too deep or too long`);
    if (isObject(value)) {
      const { pattern, Regex, type, length } = value;
      if (pattern !== undefined && !isPattern(pattern))
        throw new TextError(`${name}: ${path}.pattern: expected a pattern`);
      if (type === "FixedLength" && !(typeof length === "number" && length >= 1)) {
        throw new TextError(`${name}: ${path}.length: expected at least 1, got ${length}`);
      }
      const endless = typeof Regex === "string" ? whyEndless(Regex) : undefined;
      if (endless) throw new TextError(`${name}: ${path}: this pattern could take forever: ${endless}`);
    }
    for (const [field, inner] of Object.entries(value)) check(inner, `${path}.${field}`, depth + 1);
  };
  if (root === undefined || root === null) return null;
  if (!isObject(root)) throw new TextError(`${name}: ${key}: expected an object`);
  check(root, key, 0);
  return root;
}

const isPattern = (value: unknown): boolean =>
  isObject(value) && (typeof value.Regex === "string" || typeof value.String === "string");

/** How Qwen2 splits text into words before merging bytes. */
const QWEN2_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

function fromVocabulary(files: TextFiles, settings: JsonObject): JsonObject {
  const { "vocab.json": vocab, "merges.txt": merges, "added_tokens.json": added = "{}" } = files;
  if (vocab === undefined || merges === undefined) {
    throw new TextError("tokenizer: expected tokenizer.json, or vocab.json and merges.txt", {
      hint: "copy these files of the checkpoint as well",
    });
  }
  const kind = settings.tokenizer_class ?? "Qwen2Tokenizer";
  if (typeof kind !== "string" || !kind.startsWith("Qwen2Tokenizer")) {
    throw new TextError(
      `tokenizer_config.json: tokenizer_class: without tokenizer.json expected Qwen2Tokenizer, got ${kind}`,
    );
  }
  const words = { type: "Split", pattern: { Regex: QWEN2_WORDS }, behavior: "Isolated", invert: false };
  return {
    added_tokens: Object.entries(parseObject("added_tokens.json", added)).map(([content, id]) => {
      return { id, content, special: true };
    }),
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "Sequence", pretokenizers: [words, { type: "ByteLevel", use_regex: false }] },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: parseObject("vocab.json", vocab),
      merges: merges.split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#version")),
    },
  };
}
