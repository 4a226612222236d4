import type { Source } from "mediabunny";
import { shownAddress, withoutSecrets } from "../../weights/address.ts";
import { InputError } from "../errors.ts";

/** A video file at a web address. Only the parts that are needed are fetched, where the server serves parts. */
export function addressSource({ UrlSource, Logging, LogLevel }: typeof import("mediabunny"), url: string): Source {
  Logging.level = LogLevel.Errors; // It would print that the server has no ranges.
  // Errors come with the read that meets them; what was read ahead and is not needed may fail.
  const quiet = { getRetryDelay: () => null, handleUnhandledError() {} };
  // Without ranges the file comes as one stream, whose parts are needed again.
  return new UrlSource(url, { fetchFn: checkedFetch, maxCacheSize: Number.POSITIVE_INFINITY, ...quiet });
}

async function checkedFetch(...[url, init]: Parameters<typeof fetch>): Promise<Response> {
  const address = url instanceof Request ? url.url : String(url);
  const name = shownAddress(address);
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    if (init?.signal?.aborted) throw cause;
    throw new InputError(`${name}: the server cannot be reached`, {
      cause: withoutSecrets(cause, address),
      hint: "Check the address and the network; in a browser the server must also allow this origin (CORS).",
    });
  }
  if (!response.ok) throw new InputError(`${name}: expected a file, got HTTP ${response.status}`);
  return response;
}
