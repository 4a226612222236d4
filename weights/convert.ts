import { fromHalf, toHalf } from "../src/tensor/half.ts";

/** Element types of a checkpoint that can become weights. */
export type FloatDType = "F32" | "F16" | "BF16";

export const isFloat = (dtype: string): dtype is FloatDType => dtype === "F32" || dtype === "F16" || dtype === "BF16";

export const FLOAT_BYTES: Readonly<Record<FloatDType, number>> = { F32: 4, F16: 2, BF16: 2 };

/** Largest finite half-precision number, 65504, as its bits. */
const MAX_HALF = 0x7bff;
const INFINITE_HALF = 0x7c00;

const bits = new Uint32Array(1);
const value = new Float32Array(bits.buffer);

/**
 * Half-precision bits nearest to `x`, ties to even. Finite numbers beyond ±65504 become ±65504: an infinity in a weight
 * turns whole activations into NaN, a clamped weight is merely a little small. Infinity and NaN stay what they are.
 */
export function toFiniteHalf(x: number): number {
  const half = toHalf(x);
  return (half & 0x7fff) === INFINITE_HALF && Number.isFinite(x) ? (half & 0x8000) | MAX_HALF : half;
}

let bf16ToHalfTable: Uint16Array | undefined;
let halfToF32Table: Uint32Array | undefined;

/** Half-precision bits of every bfloat16, by its bits. */
function bf16ToHalf(): Uint16Array {
  bf16ToHalfTable ??= Uint16Array.from({ length: 65536 }, (_, brain) => {
    bits[0] = brain << 16;
    return toFiniteHalf(value[0]!);
  });
  return bf16ToHalfTable;
}

/** Single-precision bits of every half, by its bits. */
function halfToF32(): Uint32Array {
  halfToF32Table ??= Uint32Array.from({ length: 65536 }, (_, half) => {
    value[0] = fromHalf(half);
    return bits[0]!;
  });
  return halfToF32Table;
}

/** Writes the single-precision bits of `source` to `target`; both 16-bit types are exact in f32. */
function widen(source: Uint16Array, from: "F16" | "BF16", target: Uint32Array): void {
  if (from === "BF16") {
    for (let i = 0; i < source.length; i++) target[i] = source[i]! << 16;
  } else {
    const table = halfToF32();
    for (let i = 0; i < source.length; i++) target[i] = table[source[i]!]!;
  }
}

/** Stored elements as f32, exactly. `source` must start at a multiple of the element size, and is not copied if F32. */
export function toFloat32(source: Uint8Array<ArrayBuffer>, from: FloatDType): Float32Array<ArrayBuffer> {
  const count = source.length / FLOAT_BYTES[from];
  if (from === "F32") return new Float32Array(source.buffer, source.byteOffset, count);
  const target = new Uint32Array(count);
  widen(new Uint16Array(source.buffer, source.byteOffset, count), from, target);
  return new Float32Array(target.buffer);
}

/** Rounds f32 bits to halves in `target` (see `toFiniteHalf`). Returns how many numbers were clamped. */
export function roundToHalf(source: Uint32Array, target: Uint16Array): number {
  let clamped = 0;
  for (let i = 0; i < source.length; i++) {
    const word = source[i]!;
    const magnitude = word & 0x7fffffff;
    const sign = (word >>> 16) & 0x8000;
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000) {
      // Normal halves: rebias the exponent, add just under half a unit (a full half when the last kept bit is odd).
      target[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else if (magnitude >= 0x477ff000 && magnitude < 0x7f800000) {
      target[i] = sign | MAX_HALF;
      clamped++;
    } else {
      bits[0] = word;
      target[i] = toHalf(value[0]!);
    }
  }
  return clamped;
}

/** Converts stored elements to GPU elements; keeps one output buffer, which the next call overwrites. */
export class Converter {
  #output = new Uint8Array(0);
  /** Numbers beyond the f16 range so far; each became ±65504. */
  clamped = 0;

  /**
   * The elements of `source` as `to`. Without a change of type `source` itself is returned.
   *
   * @param source starts at a multiple of 4 bytes; at most a few MiB
   */
  convert(source: Uint8Array<ArrayBuffer>, from: FloatDType, to: "f32" | "f16"): Uint8Array<ArrayBuffer> {
    if (from.toLowerCase() === to) return source;
    const { buffer, byteOffset } = source;
    const count = source.length / FLOAT_BYTES[from];
    const bytes = this.#take(count * (to === "f32" ? 4 : 2));
    if (from === "F32") {
      this.clamped += roundToHalf(new Uint32Array(buffer, byteOffset, count), new Uint16Array(bytes.buffer, 0, count));
    } else {
      const words = new Uint16Array(buffer, byteOffset, count);
      if (to === "f32") widen(words, from, new Uint32Array(bytes.buffer, 0, count));
      else this.clamped += roundBf16ToHalf(words, new Uint16Array(bytes.buffer, 0, count));
    }
    return bytes;
  }

  #take(bytes: number): Uint8Array<ArrayBuffer> {
    if (this.#output.length < bytes) this.#output = new Uint8Array(Math.ceil(bytes / 8) * 8);
    return this.#output.subarray(0, bytes);
  }
}

/**
 * Rounds bfloat16 to halves. Most weights are normal halves, for which only the exponent's bias changes and nothing is
 * rounded; two of those at a time take half the time of two look-ups.
 */
function roundBf16ToHalf(source: Uint16Array, target: Uint16Array): number {
  const table = bf16ToHalf();
  const pairs = new Uint32Array(source.buffer, source.byteOffset, source.length >>> 1);
  const targets = new Uint32Array(target.buffer, target.byteOffset, target.length >>> 1);
  let clamped = 0;
  const lookUp = (i: number): void => {
    const half = table[source[i]!]!;
    target[i] = half;
    // No bfloat16 equals 65504, so this value only comes from clamping.
    if ((half & 0x7fff) === MAX_HALF) clamped++;
  };
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i]!;
    // Magnitudes less the smallest normal half, 2⁻¹⁴; both must be below 2¹⁶, 30 exponents up.
    const low = (pair & 0x7fff) - 0x3880;
    const high = ((pair >>> 16) & 0x7fff) - 0x3880;
    if (low >>> 0 < 0xf00 && high >>> 0 < 0xf00) {
      targets[i] = (pair & 0x80008000) | ((low << 3) + 0x400) | (((high << 3) + 0x400) << 16);
    } else {
      lookUp(2 * i);
      lookUp(2 * i + 1);
    }
  }
  if (source.length % 2 === 1) lookUp(source.length - 1);
  return clamped;
}
