import { shownAddress } from "../../weights/address.ts";
import { ImageError } from "../errors.ts";
import type { Pixels } from "../image/pixels.ts";
import { dataUrlBytes, isDataUrl } from "./data_url.ts";
import { platform } from "./platform.ts";

/** The bytes behind a path, an address or a data URL. */
export async function readSource(source: string, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  return isDataUrl(source) ? dataUrlBytes(source) : platform().readFile(source, signal);
}

/**
 * Decodes a file.
 *
 * @param source where it is from; errors name a path or an address
 * @throws ImageError when it is no image
 */
export async function decodeFile(
  bytes: Uint8Array<ArrayBuffer>,
  source: unknown,
  options: { readonly orientation: boolean },
): Promise<Pixels> {
  try {
    return await platform().decodeImage(bytes, options);
  } catch (cause) {
    if (!(cause instanceof ImageError) || typeof source !== "string" || isDataUrl(source)) throw cause;
    const name = /^https?:/i.test(source) ? shownAddress(source) : source;
    const { message, hint } = cause;
    throw new ImageError(`${name}: ${message.replace(/^image: /, "")}`, { cause, ...(hint !== undefined && { hint }) });
  }
}
