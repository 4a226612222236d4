// Matrices of small integers on the host: how numbers become codes, how files store them, how kernels want them.

import { fromHalf } from "../src/tensor/half.ts";
import { CODE_BITS, GROUP, type QuantFormat, quantLayout } from "../src/tensor/quantized.ts";
import { toFiniteHalf } from "./convert.ts";

/** A matrix [O, C] as files store it, row by row, C a multiple of 32. */
export interface StoredCodes {
  /** int4: 8 codes to a word, [O, C/8], the first in the lowest bits. int8: 4 to a word, two's complement. */
  readonly codes: Uint32Array<ArrayBuffer>;
  /** [O, C/32] halves */
  readonly scales: Uint16Array<ArrayBuffer>;
  /** [O, C/32] halves; only of `int4-affine` */
  readonly offsets: Uint16Array<ArrayBuffer> | undefined;
}

/** Adding it to a number below 2⁵¹ leaves no room for fractions; halves go to the even neighbour, as on the GPU. */
const ROUND = 1.5 * 2 ** 52;

const clamp = (x: number, low: number, high: number): number => (x < low ? low : x > high ? high : x);

/**
 * Rounds each group of 32 to the nearest codes. Scales are rounded to halves first, so that codes fit the scale that is stored.
 *
 * - `int4`: the scale is −1/8 of the element of largest magnitude, with its sign, so that all 16 codes are used
 * - `int4-affine`: from the least element, the offset, in 15 steps to the greatest
 * - `int8`: the scale is 1/127 of the largest magnitude
 *
 * @param values any number of whole rows
 */
export function quantize(values: Float32Array, format: QuantFormat): StoredCodes {
  const groups = values.length / GROUP;
  const bits = CODE_BITS[format];
  const codes = new Uint32Array((values.length * bits) / 32);
  const scales = new Uint16Array(groups);
  const offsets = format === "int4-affine" ? new Uint16Array(groups) : undefined;
  const perWord = 32 / bits;
  const mask = bits === 4 ? 15 : 255;
  let at = 0;
  for (let g = 0; g < groups; g++) {
    const start = g * GROUP;
    const { scale, offset, low, high, base } = fit(values, start, format);
    scales[g] = scale;
    if (offsets) offsets[g] = offset;
    const s = fromHalf(scale);
    const b = fromHalf(offset);
    for (let first = start; first < start + GROUP; first += perWord) {
      let word = 0;
      for (let i = 0; i < perWord; i++) {
        const steps = Math.fround(Math.fround(values[first + i]! - b) / s);
        // A scale of 0 means that all of the group is (nearly) 0.
        const code = s === 0 ? base : clamp(steps + ROUND - ROUND, low, high) + base;
        word |= (code & mask) << (i * bits);
      }
      codes[at++] = word;
    }
  }
  return { codes, scales, offsets };
}

/** Scale and offset, as halves, of the group at `start`; and the range of its codes before `base` is added. */
function fit(values: Float32Array, start: number, format: QuantFormat) {
  let least = values[start]!;
  let greatest = least;
  for (let i = 1; i < GROUP; i++) {
    const value = values[start + i]!;
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  if (format === "int4-affine") {
    const offset = toFiniteHalf(least);
    const scale = toFiniteHalf(Math.fround(Math.fround(greatest - least) / 15));
    return { scale, offset, low: 0, high: 15, base: 0 };
  }
  const extreme = -least > greatest ? least : greatest;
  if (format === "int4") return { scale: toFiniteHalf(extreme / -8), offset: 0, low: -8, high: 7, base: 8 };
  return { scale: toFiniteHalf(Math.fround(Math.abs(extreme) / 127)), offset: 0, low: -127, high: 127, base: 0 };
}

/** The numbers that codes stand for. */
export function dequantize({ codes, scales, offsets }: StoredCodes, format: QuantFormat): Float32Array<ArrayBuffer> {
  const bits = CODE_BITS[format];
  const perWord = 32 / bits;
  const mask = bits === 4 ? 15 : 255;
  const base = format === "int4" ? 8 : 0;
  const values = new Float32Array(codes.length * perWord);
  let at = 0;
  for (let g = 0; g < scales.length; g++) {
    const scale = fromHalf(scales[g]!);
    const offset = offsets ? fromHalf(offsets[g]!) : 0;
    for (let word = (g * GROUP) / perWord; word < ((g + 1) * GROUP) / perWord; word++) {
      for (let shift = 0; shift < 32; shift += bits) {
        const raw = (codes[word]! >>> shift) & mask;
        values[at++] = (bits === 8 ? (raw << 24) >> 24 : raw - base) * scale + offset;
      }
    }
  }
  return values;
}

/** Codes and scales in the layout of `QuantizedTensor`. */
export interface Interleaved {
  readonly codes: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
}

/**
 * Whole blocks of 8 rows (the last may be short) in the layout of `QuantizedTensor`. Padding is zero.
 *
 * @param inputs C
 * @param into   memory to use again, large enough; the result is a view of it
 */
export function interleave(
  { codes, scales, offsets }: StoredCodes,
  format: QuantFormat,
  inputs: number,
  into?: Interleaved,
): Interleaved {
  const groups = inputs / GROUP;
  const rows = scales.length / groups;
  const { blocks, units, words } = quantLayout(format, [rows, inputs]);
  const wide = into?.codes.subarray(0, blocks * units * 32).fill(0) ?? new Uint32Array(blocks * units * 32);
  const rowWords = codes.length / rows;
  for (let row = 0; row < rows; row++) {
    let to = (row >> 3) * units * 32 + (row & 7) * 4;
    for (let at = row * rowWords; at < (row + 1) * rowWords; at += 4, to += 32) {
      wide[to] = codes[at]!;
      wide[to + 1] = codes[at + 1]!;
      wide[to + 2] = codes[at + 2]!;
      wide[to + 3] = codes[at + 3]!;
    }
  }
  const pairs = into?.scales.subarray(0, blocks * words * 8).fill(0) ?? new Uint32Array(blocks * words * 8);
  const halves = new Uint16Array(pairs.buffer, pairs.byteOffset, pairs.length * 2);
  for (let row = 0; row < rows; row++) {
    const start = (row >> 3) * words * 16 + (row & 7) * 2;
    for (let g = 0; g < groups; g++) {
      const from = row * groups + g;
      if (offsets) {
        halves[start + g * 16] = scales[from]!;
        halves[start + g * 16 + 1] = offsets[from]!;
      } else halves[start + (g >> 1) * 16 + (g & 1)] = scales[from]!;
    }
  }
  return { codes: wide, scales: pairs };
}

/** The inverse of `interleave`: as files store them, the first `rows` rows of codes and scales in the layout of `QuantizedTensor`. */
export function deinterleave(
  { codes: wide, scales: pairs }: Interleaved,
  format: QuantFormat,
  [rows, inputs]: readonly [rows: number, inputs: number],
): StoredCodes {
  const groups = inputs / GROUP;
  const { units, words } = quantLayout(format, [rows, inputs]);
  const rowWords = (inputs * CODE_BITS[format]) / 32;
  const codes = new Uint32Array(rows * rowWords);
  const scales = new Uint16Array(rows * groups);
  const offsets = format === "int4-affine" ? new Uint16Array(rows * groups) : undefined;
  const halves = new Uint16Array(pairs.buffer, pairs.byteOffset, pairs.length * 2);
  for (let row = 0; row < rows; row++) {
    let from = (row >> 3) * units * 32 + (row & 7) * 4;
    for (let at = row * rowWords; at < (row + 1) * rowWords; at += 4, from += 32) {
      codes[at] = wide[from]!;
      codes[at + 1] = wide[from + 1]!;
      codes[at + 2] = wide[from + 2]!;
      codes[at + 3] = wide[from + 3]!;
    }
    const start = (row >> 3) * words * 16 + (row & 7) * 2;
    for (let g = 0; g < groups; g++) {
      const at = row * groups + g;
      if (offsets) {
        scales[at] = halves[start + g * 16]!;
        offsets[at] = halves[start + g * 16 + 1]!;
      } else scales[at] = halves[start + (g >> 1) * 16 + (g & 1)]!;
    }
  }
  return { codes, scales, offsets };
}
