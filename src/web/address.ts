import { shownAddress } from "../../weights/address.ts";
import { InputError } from "../errors.ts";

/**
 * The whole address that a page means by `source`, as its own `fetch` would take it.
 *
 * @throws InputError when it is malformed, or relative where there is nothing to be relative to
 */
export function resolveAddress(source: string): string {
  // Of a worker or a frame that was made from a blob or a `data:` address, this is no base.
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  try {
    return new URL(source, base).href;
  } catch {
    throw new InputError(`expected an address, got ${JSON.stringify(shownAddress(source))}`, {
      hint: "Check its spelling. In workers and frames made from a blob or data: address, pass an absolute one: https://…",
    });
  }
}
