import { shownAddress, withoutSecrets } from "../../weights/address.ts";
import { InputError } from "../errors.ts";

/**
 * Downloads a file.
 *
 * @throws InputError when the server cannot be reached or refuses
 */
export async function fetchBytes(url: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const name = shownAddress(url);
  try {
    const response = await fetch(url, signal ? { signal } : {});
    if (!response.ok) throw new InputError(`${name}: expected a file, got HTTP ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    if (cause instanceof InputError || signal?.aborted) throw cause;
    throw new InputError(`${name}: the server cannot be reached`, {
      cause: withoutSecrets(cause, url),
      hint: "Check the address and the network; in a browser the server must also allow this origin (CORS).",
    });
  }
}
