import { Tensor } from "../tensor/tensor.ts";

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

/** RGB bytes [side, side, 3]; where a GPU resized them, its words of four, u32 [side · side · 3 / 4]. */
export type Square = Uint8Array<ArrayBuffer> | Tensor;

/** Where a picture comes from. */
export interface PictureSource {
  /** What tells it from other pictures: the SHA-256 of its bytes. */
  content(signal: AbortSignal | undefined): Promise<string>;
  /** Decodes and resizes it; called again when its pixels were dropped and its tokens are no longer kept. */
  load(signal: AbortSignal | undefined): Promise<Square>;
}

/**
 * An image of a conversation. Its pixels are read when first needed and dropped once it has been seen; its key stays, so
 * that later turns need nothing else of it.
 */
export class Picture implements Slot {
  readonly view: View;
  readonly tokens: number;
  readonly #source: PictureSource;
  #square: Square | undefined;
  /** Failures of the GPU before it resized the pixels: a later one may have been theirs. */
  #failures = 0;
  #key: string | undefined;

  constructor(source: PictureSource, view: View, tokens: number) {
    this.#source = source;
    this.view = view;
    this.tokens = tokens;
  }

  /** What the picture is, and how it is looked at. Known once `read` has resolved. */
  get key(): string {
    if (this.#key === undefined) throw new Error("picture: its key was asked for before it was read");
    return this.#key;
  }

  get isKnown(): boolean {
    return this.#key !== undefined;
  }

  get hasPixels(): boolean {
    return this.#square !== undefined;
  }

  /** Learns the key, if it is not yet known. That takes no decoder. */
  async read(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#key ??= `${await this.#source.content(signal)} ${this.view.side} ${this.view.pool ?? "all"}`;
  }

  async pixels(signal?: AbortSignal): Promise<Square> {
    signal?.throwIfAborted();
    if (this.#square instanceof Tensor && this.#square.gpu.failures > this.#failures) this.dropPixels();
    if (this.#square) return this.#square;
    const square = await this.#source.load(signal);
    if (!this.#square) this.hold(square);
    else if (this.#square !== square) free(square); // somebody else was faster
    return this.#square!;
  }

  /** Keeps pixels that were read along with others', until they are dropped. */
  hold(square: Square): void {
    this.dropPixels();
    this.#square = square;
    if (square instanceof Tensor) this.#failures = square.gpu.failures;
  }

  dropPixels(): void {
    if (this.#square) free(this.#square);
    this.#square = undefined;
  }
}

function free(square: Square): void {
  if (square instanceof Tensor) square.gpu.release(square);
}
