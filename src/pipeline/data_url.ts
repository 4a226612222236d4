import { InputError } from "../errors.ts";

export const isDataUrl = (source: string): boolean => /^data:/i.test(source);

/**
 * The bytes that a `data:` URL holds (RFC 2397), base64 or percent-encoded.
 *
 * @throws InputError when it is malformed
 */
export function dataUrlBytes(url: string): Uint8Array<ArrayBuffer> {
  const comma = url.indexOf(",");
  const head = url.slice(0, Math.max(0, comma));
  try {
    if (comma < 0) throw new Error("no comma");
    const escaped = /%([0-9a-f]{2})/gi;
    const body = url.slice(comma + 1).replace(escaped, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
    return Uint8Array.from(/;\s*base64$/i.test(head) ? atob(body) : body, (byte) => byte.charCodeAt(0));
  } catch (cause) {
    throw new InputError(`${url.slice(0, 40)}…: expected data:image/…;base64, and the bytes of an image`, { cause });
  }
}
