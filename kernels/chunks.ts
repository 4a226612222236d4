/** Binding offsets must be multiples of this (WebGPU's default, which every adapter grants). */
const OFFSET_ALIGNMENT = 256;

/**
 * Cuts rows into ranges small enough to bind, for tensors past the adapter's binding limit.
 *
 * @param rows      number of rows
 * @param rowBytes  bytes of one row in each tensor that is cut along with the others
 * @param maxBytes  largest binding
 * @param multiple  of which every range but the last has so many rows. Default 1
 * @returns         ranges [from, to); all of it as one when it fits
 */
export function rowChunks(
  rows: number,
  rowBytes: readonly number[],
  maxBytes: number,
  multiple = 1,
): [from: number, to: number][] {
  const widest = Math.max(...rowBytes);
  if (rows * widest <= maxBytes) return [[0, rows]];
  const step = rowBytes.reduce(
    (common, bytes) => leastCommonMultiple(common, OFFSET_ALIGNMENT / gcd(OFFSET_ALIGNMENT, bytes)),
    multiple,
  );
  const chunk = Math.max(step, Math.floor(maxBytes / widest / step) * step);
  const ranges: [number, number][] = [];
  for (let from = 0; from < rows; from += chunk) ranges.push([from, Math.min(rows, from + chunk)]);
  return ranges;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
const leastCommonMultiple = (a: number, b: number): number => (a * b) / gcd(a, b);
