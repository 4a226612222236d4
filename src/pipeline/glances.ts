import type { Tensor } from "../tensor/tensor.ts";
import { nextTask } from "./next_task.ts";
import type { Picture } from "./picture.ts";
import type { Vision } from "./vision.ts";

/**
 * Looks at pictures while others are still being read, so that the GPU encodes one while a decoder is at the next.
 *
 * Nothing depends on it: who needs a picture's tokens asks `Vision` for them and finds them known, or looks then.
 */
export class Glances {
  readonly #vision: Vision;
  /** Pictures that have been read since the last look began. */
  #ready: Picture[] = [];
  /** Of all that have been read. */
  readonly #keys = new Set<string>();
  #look: Promise<void> | undefined;
  /** Tokens of looks that have ended, which stay on the GPU until `release`. */
  readonly #found: ReadonlyMap<string, Tensor>[] = [];

  constructor(vision: Vision) {
    this.#vision = vision;
  }

  /**
   * Learns the keys of pictures, and decodes those that have not been seen. Those whose pixels are at hand already are left to be
   * looked at together, later.
   */
  async read(pictures: readonly Picture[], signal?: AbortSignal): Promise<void> {
    for (const picture of pictures) {
      if (picture.isKnown) continue;
      if (!picture.hasPixels) await this.#begin(signal);
      await picture.read(signal);
      const isSeen = this.#keys.has(picture.key) || this.#vision.cache.has(picture.key);
      this.#keys.add(picture.key);
      if (!isSeen) await picture.pixels(signal);
      this.#ready.push(picture);
    }
  }

  /** Lets go of what was seen. */
  async release(): Promise<void> {
    await this.#look;
    for (const tokens of this.#found.splice(0)) this.#vision.release(tokens);
  }

  /** Looks at what has been read, unless a look is going on: then more will have been read when it ends. */
  async #begin(signal: AbortSignal | undefined): Promise<void> {
    if (this.#look || this.#ready.length === 0) return;
    const looked = this.#vision.acquire(this.#ready.splice(0), { signal });
    // Should it fail, whoever needs the tokens looks again and hears why.
    const found = looked.then((tokens) => void this.#found.push(tokens)).catch(() => undefined);
    this.#look = found.then(() => {
      this.#look = undefined;
    });
    await nextTask(); // it is submitted before a decoder takes the thread
  }
}
