import { randomFrom } from "../../test/mutate.ts";

/** Endless normal numbers, seeded; a prime period. */
export class Noise {
  readonly #numbers: Float32Array;
  #at = 0;

  constructor(seed = 1) {
    const random = randomFrom(seed);
    this.#numbers = Float32Array.from({ length: 262_147 }, () => {
      return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    });
  }

  take(size: number, std: number, mean = 0): Float32Array<ArrayBuffer> {
    const result = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      result[i] = mean + std * this.#numbers[this.#at]!;
      this.#at = (this.#at + 1) % this.#numbers.length;
    }
    return result;
  }
}
