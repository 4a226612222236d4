import { CheckpointError, InputError } from "../src/errors.ts";
import { shownAddress, withoutSecrets } from "./address.ts";
import { checkFileName, endsEarly, type Folder, missingFile, type ReadOptions } from "./folder.ts";
import { readAll, readInto } from "./response_body.ts";
import { cut, type Piece, Windows } from "./windows.ts";

export interface HttpFolderOptions {
  /** Used instead of the global `fetch`. */
  readonly fetch?: typeof fetch;
  /** Sent with every request, for example `{ authorization: "Bearer …" }`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Seconds without a single byte after which a request counts as failed. Default 60 */
  readonly timeoutSeconds?: number;
  /**
   * Waits in ms before each further try of a request that failed for a passing reason; longer where `Retry-After` says so, up to
   * 30 s. Default [300, 1200]
   */
  readonly retryDelays?: readonly number[];
}

/** A file larger than this is read only from servers that honour `Range`. */
const WHOLE_FILE_BYTES = 64 * 2 ** 20;

/**
 * A checkpoint folder on a web server, read with `Range` requests. Short ranges come from pieces of 256 KiB, of which up to four
 * are kept in memory until `close`.
 *
 * A server that ignores `Range` works for files up to 64 MiB, which are then kept in memory until `close`. Requests that
 * break off, stall, or get status 429 or 5xx are tried again.
 *
 * @param url address of the folder; its query string is kept, files are appended to its path
 * @throws InputError when `url` is not an http or https address
 */
export function httpFolder(url: string | URL, options: HttpFolderOptions = {}): Folder {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base?.protocol !== "http:" && base?.protocol !== "https:") {
    throw new InputError(`checkpoint address: expected an http or https URL, got ${JSON.stringify(shownAddress(url))}`);
  }
  return new HttpFolder(base, options);
}

/** The longest wait for the next try that a server is granted, so that loading does not seem to hang. */
const LONGEST_WAIT_MS = 30_000;

/** A failure that may pass: worth another try, after `waitMs` at the earliest. */
class Transient {
  readonly error: unknown;
  readonly waitMs: number;
  constructor(error: unknown, waitMs = 0) {
    this.error = error;
    this.waitMs = waitMs;
  }
}

class HttpFolder implements Folder {
  readonly name: string;
  readonly #base: URL;
  readonly #fetch: typeof fetch;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;
  readonly #retryDelays: readonly number[];
  readonly #sizes = new Map<string, number | undefined>();
  readonly #whole = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Sizes as last seen, also after `close`: only good for asking for nothing behind the end. */
  readonly #lastSizes = new Map<string, number>();
  readonly #windows: Windows;
  /** Whether any file came, ever: the server lets us in. */
  #served = false;

  constructor(base: URL, options: HttpFolderOptions) {
    const { fetch: custom, headers = {}, timeoutSeconds = 60, retryDelays = [300, 1200] } = options;
    this.name = shownAddress(base).replace(/\/+$/, "");
    this.#base = base;
    this.#fetch = custom ?? ((input, init) => globalThis.fetch(input, init));
    this.#headers = headers;
    this.#timeoutMs = timeoutSeconds * 1000;
    this.#retryDelays = retryDelays;
    this.#windows = new Windows((file, start, end, signal) => this.#download(file, start, end, undefined, signal));
  }

  async size(file: string, { signal }: Pick<ReadOptions, "signal"> = {}): Promise<number | undefined> {
    signal?.throwIfAborted();
    if (!this.#sizes.has(file)) {
      const size = await this.#probe(file, signal);
      this.#sizes.set(file, size);
      if (size !== undefined) this.#lastSizes.set(file, size);
    }
    return this.#sizes.get(file);
  }

  async read(
    file: string,
    start = 0,
    end?: number,
    { into, signal }: ReadOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    const whole = this.#whole.get(file);
    if (whole) return this.#part(file, [{ bytes: whole, start: 0 }], start, end, into);
    const size = this.#lastSizes.get(file);
    if (end !== undefined && size !== undefined && Windows.serve(start, end, size)) {
      return this.#part(file, await this.#windows.read(file, start, end, size, signal), start, end, into);
    }
    const piece = await this.#download(file, start, end, into, signal);
    // A range was downloaded as asked; a whole file, which others may get too, still has to be cut.
    return piece.isWhole ? this.#part(file, [piece], start, end, into) : piece.bytes;
  }

  #part(
    file: string,
    pieces: readonly Piece[],
    start: number,
    end: number | undefined,
    into: Uint8Array<ArrayBuffer> | undefined,
  ): Uint8Array<ArrayBuffer> {
    // A file that is replaced meanwhile may leave a gap.
    let known = start;
    for (const piece of pieces) if (piece.start <= known) known = Math.max(known, piece.start + piece.bytes.length);
    const stop = end ?? known;
    if (stop > known) throw endsEarly(this.name, file, stop, known);
    return cut(pieces, start, stop, into);
  }

  async close(): Promise<void> {
    this.#whole.clear();
    this.#windows.clear();
    this.#sizes.clear();
  }

  #probe(file: string, signal: AbortSignal | undefined): Promise<number | undefined> {
    return this.#request(file, { range: "bytes=0-0" }, signal, async (response, touch) => {
      // Object stores that list no keys answer 403 for absent ones, and for everything to those they refuse.
      if (isAbsent(response) || (response.status === 403 && this.#served)) return undefined;
      const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
      if (total !== undefined) return Number(total);
      const encoded = response.headers.has("content-encoding");
      const length = response.headers.get("content-length");
      if (response.status === 200 && length !== null && !encoded) return Number(length);
      if (response.status === 200) return (await this.#keepWhole(file, response, touch)).length;
      if (response.status === 206) return this.#lengthByHead(file, signal);
      throw this.#refused(file, response);
    });
  }

  /**
   * Across origins `Content-Range` is hidden unless the server exposes it; `Content-Length` of HEAD is not. Asked without a
   * range, browsers accept compressed bodies and get the length of those.
   */
  #lengthByHead(file: string, signal: AbortSignal | undefined): Promise<number> {
    return this.#request(
      file,
      { range: "bytes=0-" },
      signal,
      async (response) => {
        if (!response.ok) throw this.#refused(file, response);
        const length = response.headers.get("content-length");
        if (length === null || response.headers.has("content-encoding")) throw this.#unsized(file);
        return Number(length);
      },
      "HEAD",
    );
  }

  async #download(
    file: string,
    start: number,
    end: number | undefined,
    into: Uint8Array<ArrayBuffer> | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Piece> {
    if (end !== undefined && end <= start) return { bytes: into?.subarray(0, 0) ?? new Uint8Array(0), start };
    const range = end === undefined ? `bytes=${start}-` : `bytes=${start}-${end - 1}`;
    const headers = end === undefined && start === 0 ? {} : { range };
    return this.#request(file, headers, signal, async (response, touch) => {
      if (isAbsent(response)) throw missingFile(this.name, file);
      if (response.status === 416) {
        throw endsEarly(this.name, file, end ?? start + 1, (await this.size(file, { signal })) ?? 0);
      }
      if (response.status === 200) {
        return { bytes: await this.#keepWhole(file, response, touch), start: 0, isWhole: true };
      }
      if (response.status !== 206) throw this.#refused(file, response);
      if (end === undefined) {
        return { bytes: await readAll(response, WHOLE_FILE_BYTES, touch, () => this.#tooLarge(file)), start };
      }
      const target = into?.subarray(0, end - start) ?? new Uint8Array(end - start);
      const got = await readInto(response, target, touch);
      if (got < target.length) throw new Transient(endsEarly(this.name, file, end, start + got));
      return { bytes: target, start };
    });
  }

  async #keepWhole(file: string, response: Response, touch: () => void): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await readAll(response, WHOLE_FILE_BYTES, touch, () => this.#tooLarge(file));
    const length = Number(response.headers.get("content-length") ?? bytes.length);
    if (!response.headers.has("content-encoding") && bytes.length < length) {
      throw new Transient(endsEarly(this.name, file, length, bytes.length));
    }
    this.#whole.set(file, bytes);
    return bytes;
  }

  /** Sends one request, hands the response to `use`, and repeats both when the failure may pass. */
  async #request<Result>(
    file: string,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
    use: (response: Response, touch: () => void) => Promise<Result>,
    method = "GET",
  ): Promise<Result> {
    checkFileName(this.name, file);
    for (let attempt = 0; ; attempt++) {
      const stall = new AbortController();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const touch = () => {
        clearTimeout(timer);
        timer = setTimeout(() => stall.abort(), this.#timeoutMs);
      };
      touch();
      try {
        const abort = signal ? AbortSignal.any([signal, stall.signal]) : stall.signal;
        const init = { method, headers: { ...this.#headers, ...headers }, signal: abort };
        const response = await this.#fetch(this.#address(file), init);
        if (response.status === 429 || response.status >= 500) {
          throw new Transient(this.#refused(file, response), retryAfterMs(response));
        }
        if (response.ok && !isAbsent(response)) this.#served = true;
        try {
          return await use(response, touch);
        } finally {
          if (!response.bodyUsed) await response.body?.cancel().catch(() => {});
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof CheckpointError) throw error;
        const delay = this.#retryDelays[attempt];
        if (delay === undefined) throw this.#typed(file, error, stall.signal.aborted);
        await pause(Math.max(delay, error instanceof Transient ? error.waitMs : 0), signal);
      } finally {
        clearTimeout(timer);
      }
    }
  }

  #typed(file: string, error: unknown, stalled: boolean): CheckpointError {
    if (error instanceof Transient && error.error instanceof CheckpointError) return error.error;
    const cause = withoutSecrets(error instanceof Transient ? error.error : error, this.#address(file));
    const what = stalled ? `nothing arrived for ${this.#timeoutMs / 1000} s` : describe(cause);
    return new CheckpointError(`${this.name}: reading ${file} failed: ${what}`, {
      cause,
      hint: "Check the address and the connection; in a browser the server must also allow this origin (CORS).",
    });
  }

  #address(file: string): URL {
    const url = new URL(this.#base);
    const path = file.split("/").map(encodeURIComponent).join("/");
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path}`;
    return url;
  }

  #refused(file: string, { status, statusText }: Response): CheckpointError {
    const denied = status === 401 || status === 403;
    return new CheckpointError(
      `${this.name}: ${file}: expected status 200 or 206, got ${status} ${statusText}`.trim(),
      {
        ...(denied && { hint: "The server wants credentials: pass them as headers, e.g. { authorization: … }." }),
      },
    );
  }

  #unsized(file: string): CheckpointError {
    return new CheckpointError(
      `${this.name}: ${file}: expected its size in Content-Range, or in Content-Length of HEAD, got neither`,
      { hint: "Across origins the server must expose it: Access-Control-Expose-Headers: Content-Range." },
    );
  }

  #tooLarge(file: string): CheckpointError {
    return new CheckpointError(
      `${this.name}: ${file}: expected a server that honours Range requests for files over ${WHOLE_FILE_BYTES} bytes`,
      { hint: "Serve the folder with a server that supports them, or download it and pass its path." },
    );
  }
}

/** Waits; throws the signal's reason as soon as it aborts. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop);
  });
}

/** The wait that `Retry-After` asks for, in seconds or until a date. */
function retryAfterMs({ headers }: Response): number {
  const text = headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return ms > 0 ? Math.min(ms, LONGEST_WAIT_MS) : 0;
}

/** Many servers answer unknown paths with their start page, some with a part of it; no checkpoint file is HTML. */
const isAbsent = ({ status, headers }: Response): boolean =>
  status === 404 ||
  status === 410 ||
  ((status === 200 || status === 206) && /^text\/html/i.test(headers.get("content-type") ?? ""));

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error ? `${error.message} (${cause.message})` : error.message;
}
