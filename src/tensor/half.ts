// IEEE 754 binary16 in plain JavaScript: `Float16Array` is missing in Node 20 and in some browsers.

const bits = new Uint32Array(1);
const value = new Float32Array(bits.buffer);

/** The half-precision bit pattern nearest to `x` (ties to even; beyond ±65504 becomes infinite). */
export function toHalf(x: number): number {
  value[0] = x;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds past 65504
  if (magnitude < 0x38800000) {
    // Subnormal half: adding 0.5 in f32 rounds the mantissa at exactly the right bit.
    bits[0] = magnitude;
    value[0] = value[0]! + 0.5;
    return sign | (bits[0]! - 0x3f000000);
  }
  const rounded = magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1);
  return sign | (rounded >>> 13);
}

/** The number a half-precision bit pattern stands for. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

export const toHalfArray = (data: ArrayLike<number>): Uint16Array<ArrayBuffer> => Uint16Array.from(data, toHalf);

export const fromHalfArray = (data: Uint16Array): Float32Array<ArrayBuffer> => Float32Array.from(data, fromHalf);
