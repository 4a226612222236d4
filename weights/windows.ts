import { unlessAborted } from "../src/abort.ts";

/** Larger ones fetch more in vain: 256 KiB bring 4 % more of FastVLM-0.5B than its weights, in half as many requests. */
export const WINDOW_BYTES = 2 ** 18;
const KEPT_WINDOWS = 4;

/** Part of a file: what it holds, and the offset in the file of its first byte. */
export interface Piece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly start: number;
  /** More came than was asked for: all of the file. */
  readonly isWhole?: boolean;
}

/** Fetches a range of a file; may bring more of the file than that. */
export type FetchPiece = (file: string, start: number, end: number, signal?: AbortSignal) => Promise<Piece>;

interface Window {
  readonly file: string;
  readonly start: number;
  readonly piece: Promise<Piece>;
  /** Ends the request. */
  readonly abort: AbortController;
  readers: number;
  arrived: boolean;
}

/**
 * Short reads of files, served from pieces of 256 KiB: most tensors are small and lie side by side, and a request for each would
 * take its time to the server and back. The pieces used last are kept; readers of one that is under way share its request.
 */
export class Windows {
  readonly #fetch: FetchPiece;
  /** The one used last is at the end. */
  #kept: Window[] = [];

  constructor(fetch: FetchPiece) {
    this.#fetch = fetch;
  }

  /** Whether a range is short enough to come from windows, in a file of `size` bytes. */
  static serve(start: number, end: number, size: number): boolean {
    return end - start < WINDOW_BYTES && start < end && end <= size;
  }

  /** The pieces of a file of `size` bytes that hold a range, in order. */
  read(file: string, start: number, end: number, size: number, signal?: AbortSignal): Promise<Piece[]> {
    const pieces: Promise<Piece>[] = [];
    for (let at = start - (start % WINDOW_BYTES); at < end; at += WINDOW_BYTES) {
      pieces.push(this.#piece(file, at, Math.min(size, at + WINDOW_BYTES), signal));
    }
    return Promise.all(pieces);
  }

  /** Forgets all pieces. Those under way still reach their readers. */
  clear(): void {
    this.#kept = [];
  }

  async #piece(file: string, start: number, end: number, signal?: AbortSignal): Promise<Piece> {
    const found = this.#kept.find((window) => window.file === file && window.start === start);
    const window = found ?? this.#begin(file, start, end);
    this.#drop(window);
    this.#kept.push(window);
    if (this.#kept.length > KEPT_WINDOWS) this.#kept.shift();
    window.readers++;
    try {
      return await unlessAborted(signal, window.piece);
    } catch (error) {
      signal?.throwIfAborted();
      if (!found) throw error;
    } finally {
      window.readers--;
      if (window.readers === 0 && !window.arrived) this.#abandon(window);
    }
    // A request of another reader failed; this one has tries of its own.
    return this.#fetch(file, start, end, signal);
  }

  #begin(file: string, start: number, end: number): Window {
    const abort = new AbortController();
    const piece = this.#fetch(file, start, end, abort.signal);
    const window: Window = { file, start, piece, abort, readers: 0, arrived: false };
    piece.then(
      ({ bytes }) => {
        window.arrived = true;
        // More than asked for is the whole file, which may be large; whoever fetched it keeps it.
        if (bytes.length > end - start) this.#drop(window);
      },
      () => this.#drop(window),
    );
    return window;
  }

  /** Nobody waits for it any more. */
  #abandon(window: Window): void {
    this.#drop(window);
    window.abort.abort();
  }

  #drop(window: Window): void {
    this.#kept = this.#kept.filter((other) => other !== window);
  }
}

/** Bytes `start` to `end` of a file from pieces that hold them, in `into` where given. */
export function cut(
  pieces: readonly Piece[],
  start: number,
  end: number,
  into?: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const target = into?.subarray(0, end - start) ?? new Uint8Array(end - start);
  let at = start;
  for (const piece of pieces) {
    const part = piece.bytes.subarray(at - piece.start, end - piece.start);
    target.set(part, at - start);
    at += part.length;
  }
  return target;
}
