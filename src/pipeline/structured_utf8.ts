import type { Tokenizer } from "../text/tokenizer.ts";

/** Second bytes that may follow a first byte (Unicode, table 3-7); the others take any continuation byte. */
const SECOND: ReadonlyMap<number, readonly [number, number]> = new Map([
  [0xe0, [0xa0, 0xbf]],
  [0xed, [0x80, 0x9f]],
  [0xf0, [0x90, 0xbf]],
  [0xf4, [0x80, 0x8f]],
]);

/** Bytes of the character that a first byte begins; 0 where it begins none. */
const lengthOf = (first: number): number => {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
};
const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80;

/** The incomplete character at the end of bytes that begin with a character; undefined where they are no UTF-8. */
function unfinished(bytes: Uint8Array): Uint8Array | undefined {
  for (let at = 0; at < bytes.length; ) {
    const length = lengthOf(bytes[at]!);
    const [low, high] = SECOND.get(bytes[at]!) ?? [0x80, 0xbf];
    const rest = bytes.subarray(at + 1, at + length);
    if (length === 0 || !rest.every(isContinuation)) return undefined;
    if (rest.length > 0 && (rest[0]! < low || rest[0]! > high)) return undefined;
    if (rest.length < length - 1) return bytes.subarray(at);
    at += length;
  }
  return new Uint8Array(0);
}

/** Whether these bytes can be part of UTF-8; they may begin and end within a character. */
export function canBeUtf8(bytes: Uint8Array): boolean {
  let start = 0;
  while (start < bytes.length && start < 3 && isContinuation(bytes[start]!)) start++;
  return unfinished(bytes.subarray(start)) !== undefined;
}

/** Keeps an answer UTF-8 where tokens are bytes: the grammar library takes any continuation byte for a second one. */
export class Utf8Guard {
  readonly #tokenizer: Tokenizer;
  /** Ids that may follow a first byte. */
  readonly #following = new Map<number, Uint32Array>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The incomplete character at the end of an answer, from the one before this token. */
  after(pending: Uint8Array, token: number): Uint8Array {
    return unfinished(Uint8Array.of(...pending, ...this.#tokenizer.bytesOf(token))) ?? new Uint8Array(0);
  }

  /** Removes ids whose first byte cannot follow. */
  restrict(mask: Uint32Array<ArrayBuffer>, pending: Uint8Array): void {
    const range = pending.length === 1 ? SECOND.get(pending[0]!) : undefined;
    if (!range) return;
    const following = this.#following.get(pending[0]!) ?? this.#idsBetween(...range, mask.length);
    this.#following.set(pending[0]!, following);
    for (const [i, word] of following.entries()) mask[i]! &= word;
  }

  #idsBetween(low: number, high: number, words: number): Uint32Array {
    const ids = new Uint32Array(words);
    for (let id = 0; id < this.#tokenizer.vocabSize; id++) {
      const [first] = this.#tokenizer.bytesOf(id);
      if (first !== undefined && first >= low && first <= high) ids[id >>> 5]! |= 1 << (id & 31);
    }
    return ids;
  }
}
