/** Where an image's tokens go in a context. Slots of one key have the same tokens. */
export interface Slot {
  readonly key: string;
  /** Tokens the image becomes. */
  readonly tokens: number;
}

/** How an image is looked at. */
export interface View {
  /** Side of the square it is resized to, in pixels. */
  readonly side: number;
  /** Side of the grid that its features are averaged to before they become tokens. Default: all features */
  readonly pool?: number | undefined;
}

/** RGB bytes [side, side, 3] */
export type Square = Uint8Array<ArrayBuffer>;

/**
 * An image of a conversation. Its pixels are read when first needed and dropped once it has been seen; its key stays, so
 * that later turns need nothing else of it.
 */
export class Picture implements Slot {
  readonly view: View;
  readonly tokens: number;
  readonly #load: (signal: AbortSignal | undefined) => Promise<Square>;
  #square: Square | undefined;
  #key: string | undefined;

  /** @param load reads and resizes it; called again when its pixels were dropped and its tokens are no longer kept */
  constructor(load: (signal: AbortSignal | undefined) => Promise<Square>, view: View, tokens: number) {
    this.#load = load;
    this.view = view;
    this.tokens = tokens;
  }

  /** SHA-256 of the pixels, and how they are looked at. Known once `read` has resolved. */
  get key(): string {
    if (this.#key === undefined) throw new Error("picture: its key was asked for before it was read");
    return this.#key;
  }

  get isKnown(): boolean {
    return this.#key !== undefined;
  }

  /** Reading it takes no decoder. */
  get hasPixels(): boolean {
    return this.#square !== undefined;
  }

  /** Learns the key, if it is not yet known. */
  async read(signal?: AbortSignal): Promise<void> {
    if (this.#key !== undefined) return;
    const square = await this.pixels(signal);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", square));
    const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#key = `${hash} ${this.view.side} ${this.view.pool ?? "all"}`;
  }

  async pixels(signal?: AbortSignal): Promise<Square> {
    signal?.throwIfAborted();
    this.#square ??= await this.#load(signal);
    return this.#square;
  }

  /** Keeps pixels that were read along with others', until they are dropped. */
  hold(square: Square): void {
    this.#square = square;
  }

  dropPixels(): void {
    this.#square = undefined;
  }
}
