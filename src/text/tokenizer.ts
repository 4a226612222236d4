import { Tokenizer as BpeTokenizer } from "@huggingface/tokenizers";
import { TextError } from "../errors.ts";
import { decodeByteLevel } from "./byte_level.ts";
import { isObject, type JsonObject, type TextFiles } from "./files.ts";
import { RunEncoder } from "./run_encoder.ts";
import { type AddedToken, readTokenizer, type TokenizerJson } from "./tokenizer_json.ts";

/**
 * Turns text into token ids and back, as a checkpoint's `tokenizer.json` says.
 *
 * Words are split and merged by `@huggingface/tokenizers`. Added tokens are found here, because text that people write
 * must never turn into a token that marks a turn or an image.
 */
export class Tokenizer {
  /** One more than the largest id. Logits can be longer: the rows beyond are padding. */
  readonly vocabSize: number;
  /** Tokens are spelled in bytes, as in all byte-level BPE vocabularies. */
  readonly byteLevel: boolean;

  readonly #bpe: BpeTokenizer;
  readonly #added = new Map<string, AddedToken>();
  readonly #addedById = new Map<number, AddedToken>();
  readonly #markup: RegExp | undefined;
  readonly #words: RegExp | undefined;
  readonly #bytes = new Map<number, Uint8Array>();

  /**
   * @param files contents of the checkpoint's text files
   * @throws TextError naming the file and the setting that is missing, malformed or not supported
   */
  constructor(files: TextFiles) {
    const json = readTokenizer(files);
    this.#bpe = createBpe(json);
    this.byteLevel = isByteLevel(json.decoder);
    for (const token of json.addedTokens) {
      this.#added.set(token.content, token);
      this.#addedById.set(token.id, token);
    }
    this.vocabSize = [...this.#addedById.keys()].reduce(
      (size, id) => Math.max(size, id + 1),
      this.#bpe.model!.vocab.length,
    );
    this.#markup = anyOf([...this.#added.values()]);
    this.#words = anyOf([...this.#added.values()].filter((token) => !isMark(token)));
    if (!this.byteLevel) for (const { id, content } of this.#addedById.values()) this.#bpe.model!.vocab[id] = content;
  }

  /** Id of a token by its name, e.g. `<|im_end|>`; undefined when there is no such token. */
  idOf(token: string): number | undefined {
    return this.#added.get(token)?.id ?? this.#bpe.model!.tokens_to_ids.get(token);
  }

  /** Whether this token marks structure and is left out of answers. */
  isSpecial(id: number): boolean {
    return this.#addedById.get(id)?.special ?? false;
  }

  /**
   * Token ids of a text.
   *
   * @param options.specials whether names of special tokens in the text stand for these tokens. Default false: they are
   *                         ordinary characters, as anything that people write should be
   */
  encode(text: string, options: { specials?: boolean } = {}): number[] {
    const encoder = new RunEncoder<never>(this);
    if (options.specials) encoder.markup(text);
    else encoder.text(text);
    return encoder.finish();
  }

  /** Text cut at added tokens, in order. */
  splitMarkup(text: string): (string | AddedToken)[] {
    return split(text, this.#markup, this.#added);
  }

  /**
   * Token ids of one run of text between special tokens.
   *
   * @param first it starts the prompt; some tokenizers put a space there
   */
  encodeRun(text: string, first: boolean): number[] {
    const pieces = split(text, this.#words, this.#added);
    return pieces.flatMap((piece, i) =>
      typeof piece === "string" ? this.#merge(piece, first && i === 0) : [piece.id],
    );
  }

  #merge(text: string, first: boolean): number[] {
    const { normalizer, pre_tokenizer: splitWords, model } = this.#bpe;
    try {
      const normal = normalizer ? normalizer(text) : text;
      if (normal === "") return [];
      const words: string[] = splitWords ? splitWords(normal, { section_index: first ? 0 : 1 }) : [normal];
      const tokens: string[] = model!(words);
      return tokens.map((token) => {
        const id = model!.tokens_to_ids.get(token);
        if (id === undefined) throw new Error(`no id for token ${JSON.stringify(token)}`);
        return id;
      });
    } catch (cause) {
      throw new TextError(`tokenizer: this text cannot be encoded: ${(cause as Error).message}`, { cause });
    }
  }

  /** Bytes that a token stands for; empty for ids that are no token. Only for byte-level vocabularies. */
  bytesOf(id: number): Uint8Array {
    let bytes = this.#bytes.get(id);
    if (!bytes) {
      const added = this.#addedById.get(id)?.content;
      bytes = added === undefined ? decodeByteLevel(this.#bpe.model!.vocab[id] ?? "") : new TextEncoder().encode(added);
      this.#bytes.set(id, bytes);
    }
    return bytes;
  }

  /**
   * Text of token ids; bytes that are no UTF-8 become U+FFFD.
   *
   * @param options.specials whether to spell out special tokens. Default false
   */
  decode(ids: readonly number[], options: { specials?: boolean } = {}): string {
    const kept = options.specials ? ids : ids.filter((id) => !this.isSpecial(id));
    if (this.byteLevel) {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return kept.map((id) => decoder.decode(this.bytesOf(id), { stream: true })).join("") + decoder.decode();
    }
    const known = kept.filter((id) => this.#bpe.model!.vocab[id] !== undefined);
    return known.length === 0 ? "" : this.#bpe.decode(known, { clean_up_tokenization_spaces: false });
  }
}

function createBpe({ normalizer, preTokenizer, decoder, model }: TokenizerJson): BpeTokenizer {
  const parts = { added_tokens: [], normalizer, pre_tokenizer: preTokenizer, post_processor: null, decoder, model };
  try {
    return new BpeTokenizer({ ...parts, model: { type: "BPE", ...model } }, {});
  } catch (cause) {
    throw new TextError(`tokenizer.json: not supported: ${(cause as Error).message}`, { cause });
  }
}

const isByteLevel = (decoder: JsonObject | null): boolean => {
  if (decoder?.type === "Sequence" && Array.isArray(decoder.decoders)) {
    return (
      decoder.decoders.length > 0 && decoder.decoders.every((inner) => isObject(inner) && inner.type === "ByteLevel")
    );
  }
  return decoder?.type === "ByteLevel";
};

/** A token that people's text must not become: special, or written like a tag. */
const isMark = ({ special, content }: AddedToken): boolean => special || /^<\S+>$/.test(content);

/** Matches any of these tokens, the longest first. */
function anyOf(tokens: readonly AddedToken[]): RegExp | undefined {
  if (tokens.length === 0) return undefined;
  const contents = tokens.map(({ content }) => content).sort((a, b) => b.length - a.length);
  return new RegExp(contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "g");
}

function split(
  text: string,
  tokens: RegExp | undefined,
  added: ReadonlyMap<string, AddedToken>,
): (string | AddedToken)[] {
  const pieces: (string | AddedToken)[] = [];
  let end = 0;
  for (const match of tokens ? text.matchAll(tokens) : []) {
    if (match.index > end) pieces.push(text.slice(end, match.index));
    pieces.push(added.get(match[0])!);
    end = match.index + match[0].length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  return pieces;
}
