import { unlessAborted } from "../abort.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import { BYTES, type Tensor } from "../tensor/tensor.ts";
import { ImageCache } from "./image_cache.ts";
import type { Picture, Square } from "./picture.ts";
import { pixelsOf } from "./pixels.ts";

/** Pictures that go through the tower at once, at most. */
const MAX_BATCH = 8;

export interface SeeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Looks again at what is known, under this function's supervision. For traces. */
  readonly during?: ((record: () => void) => void) | undefined;
  /** Called with the number of pictures seen so far. */
  readonly onSeen?: ((pictures: number) => void) | undefined;
}

/** Image tokens f32 [N, D] by key, on the GPU for whatever is submitted from now on. */
export interface Look {
  readonly tokens: ReadonlyMap<string, Tensor>;
  /** Resolves when they have been computed; rejects when that failed. */
  readonly seen: Promise<void>;
}

/** Turns pictures into image tokens, no picture twice as long as its tokens are kept. */
export class Vision {
  readonly cache: ImageCache;
  readonly #gpu: Gpu;
  readonly #model: FastVLMModel;
  /** The look before this one; one at a time, so that overlapping questions about one picture share a look. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param cacheBytes bytes of image tokens kept for later questions */
  constructor(model: FastVLMModel, cacheBytes: number) {
    this.#gpu = model.gpu;
    this.#model = model;
    this.cache = new ImageCache(model.gpu, cacheBytes);
  }

  /**
   * Image tokens f32 [N, D] by key. They stay on the GPU until they are released under the same pictures.
   *
   * @param pictures whose keys are known
   */
  async acquire(pictures: readonly Picture[], options: SeeOptions = {}): Promise<ReadonlyMap<string, Tensor>> {
    const { tokens, seen } = await this.look(pictures, options);
    try {
      await seen;
      options.signal?.throwIfAborted();
      return tokens;
    } catch (error) {
      this.release(tokens);
      throw error;
    }
  }

  /** The same, as soon as the last look has been submitted. */
  async look(pictures: readonly Picture[], options: SeeOptions = {}): Promise<Look> {
    const unique = pictures.filter((picture, i) => pictures.findIndex(({ key }) => key === picture.key) === i);
    const found = new Map<string, Tensor>();
    if (unique.length === 0) return { tokens: found, seen: Promise.resolve() };
    const look = this.#turn.then(() => this.#lookAtAll(unique, found, options));
    this.#turn = look.then(({ seen }) => seen).catch(() => undefined);
    try {
      const { seen } = await unlessAborted(options.signal, look);
      return { tokens: found, seen };
    } catch (error) {
      void look.catch(() => undefined).then(() => this.release(found)); // its turn may be yet to come
      throw error;
    }
  }

  release(features: ReadonlyMap<string, Tensor>): void {
    for (const key of features.keys()) this.cache.release(key);
  }

  async #lookAtAll(
    pictures: readonly Picture[],
    found: Map<string, Tensor>,
    options: SeeOptions,
  ): Promise<Pick<Look, "seen">> {
    const { signal, during, onSeen } = options;
    signal?.throwIfAborted();
    const unseen: Picture[] = [];
    for (const picture of pictures) {
      const known = during ? undefined : this.cache.acquire(picture.key);
      if (known) found.set(picture.key, known);
      else unseen.push(picture);
    }
    onSeen?.(found.size);
    let seen = Promise.resolve();
    while (unseen.length > 0) {
      await seen;
      signal?.throwIfAborted();
      const batch = unseen.splice(0, this.#batchOf(unseen));
      const { results, settled } = await this.#encode(batch, options);
      for (const [key, tokens] of results) found.set(key, this.cache.add(key, tokens));
      seen = settled.then(
        () => onSeen?.(found.size),
        (error: unknown) => {
          for (const { key } of batch) this.cache.forget(key);
          throw error;
        },
      );
    }
    return { seen };
  }

  /** How many of the first pictures, all of one view, go through the tower at once. */
  #batchOf(pictures: readonly Picture[]): number {
    const { view } = pictures[0]!;
    const other = pictures.findIndex(({ view: { side, pool } }) => side !== view.side || pool !== view.pool);
    const alike = other < 0 ? pictures.length : other;
    // The widest activation is the stem's, at half the resolution.
    const channels = this.#model.eye?.tower.config.embedDims[0] ?? 1;
    const bytes = (view.side / 2) ** 2 * channels * BYTES[this.#model.dtype];
    return Math.max(1, Math.min(MAX_BATCH, alike, Math.floor(this.#gpu.maxBindingBytes / bytes)));
  }

  /** Pictures of one view → their tokens [N, D], each in memory of its own, and when they have been computed. */
  async #encode(batch: readonly Picture[], { signal, during = run }: SeeOptions): Promise<Encoded> {
    const { view } = batch[0]!;
    const { side } = view;
    const { failures } = this.#gpu; // a later one may be that of pixels which the GPU resizes
    const squares: Square[] = [];
    for (const picture of batch) squares.push(await picture.pixels(signal));
    signal?.throwIfAborted();
    const input = pixelsOf(this.#gpu, squares, side, this.#model.dtype);
    for (const picture of batch) picture.dropPixels();
    const results: [string, Tensor][] = [];
    try {
      during(() => {
        this.#gpu.scope(() => {
          const tokens = this.#model.encode(input, view.pool); // [B, N, D]
          for (const [i, { key }] of batch.entries()) {
            const own = this.#gpu.keep(tokens.rows(i, i + 1));
            results.push([key, own.reshape(own.shape.slice(1))]);
          }
          return undefined;
        });
      });
    } catch (error) {
      for (const [, tokens] of results) this.#gpu.release(tokens);
      throw error;
    } finally {
      this.#gpu.release(input);
    }
    // In one go with the recording: a failure of others would discard what is not yet submitted.
    return { results, settled: this.#gpu.settled(failures) };
  }
}

interface Encoded {
  readonly results: readonly [key: string, tokens: Tensor][];
  readonly settled: Promise<void>;
}

const run = (record: () => void): void => record();
