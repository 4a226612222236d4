/**
 * Byte-level vocabularies spell each byte as one printable character (GPT-2's `bytes_to_unicode`): printable Latin-1
 * bytes as themselves, the others as U+0100 onwards.
 */
const BYTE_OF_CHAR: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) map.set(String.fromCharCode(printable(byte) ? byte : next++), byte);
  return map;
})();

/** Bytes that a byte-level token spells; its UTF-8 when it has a character that spells no byte. */
export function decodeByteLevel(token: string): Uint8Array {
  const bytes = Array.from(token, (char) => BYTE_OF_CHAR.get(char));
  return bytes.includes(undefined) ? new TextEncoder().encode(token) : Uint8Array.from(bytes as number[]);
}
