import { ImageError } from "../errors.ts";

/**
 * Undoes the filter of one row in place (PNG 3rd edition §9.2).
 *
 * @param row   filter type, then the filtered bytes
 * @param above the row above, unfiltered, in the same layout; zeros for the first row
 * @param step  bytes from a sample to the same sample of the pixel before it, at least 1
 */
export function unfilterRow(row: Uint8Array, above: Uint8Array, step: number): void {
  const first = 1 + step; // pixels before the row's start are zero
  switch (row[0]) {
    case 0:
      return;
    case 1:
      for (let i = first; i < row.length; i++) row[i]! += row[i - step]!;
      return;
    case 2:
      for (let i = 1; i < row.length; i++) row[i]! += above[i]!;
      return;
    case 3:
      for (let i = 1; i < first && i < row.length; i++) row[i]! += above[i]! >> 1;
      for (let i = first; i < row.length; i++) row[i]! += (row[i - step]! + above[i]!) >> 1;
      return;
    case 4:
      for (let i = 1; i < first && i < row.length; i++) row[i]! += above[i]!;
      for (let i = first; i < row.length; i++) row[i]! += paeth(row[i - step]!, above[i]!, above[i - step]!);
      return;
    default:
      throw new ImageError(`image: damaged PNG: unknown row filter ${row[0]}`);
  }
}

/** Of left, up and up-left, the one nearest to left + up − up-left. */
function paeth(left: number, up: number, corner: number): number {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** How samples are stored; `palette` holds RGB triples. */
interface SampleLayout {
  readonly depth: number;
  readonly colorType: number;
  readonly palette: Uint8Array;
}

/**
 * Turns one unfiltered row into RGB.
 *
 * @param row     one byte of filter type, then the samples
 * @param columns pixels in the row
 * @param out     RGB pixels; written at `to`, then every `stride` bytes
 */
export function expandRow(
  { depth, colorType, palette }: SampleLayout,
  row: Uint8Array,
  columns: number,
  out: Uint8Array,
  to: number,
  stride: number,
): void {
  if (colorType === 2 && depth === 8 && stride === 3) {
    out.set(row.subarray(1), to);
    return;
  }
  const bytes = depth >> 3; // of one sample; 0 for packed samples
  const isColor = colorType === 2 || colorType === 6;
  const pixelBytes = (isColor ? 3 : 1) * bytes + (colorType >= 4 ? bytes : 0);
  const levels = (1 << depth) - 1;
  for (let x = 0, from = 1; x < columns; x++, from += pixelBytes, to += stride) {
    if (isColor) {
      out[to] = row[from]!;
      out[to + 1] = row[from + bytes]!;
      out[to + 2] = row[from + 2 * bytes]!;
    } else if (colorType === 3) {
      const entry = 3 * (depth === 8 ? row[from]! : packedSample(row, x, depth));
      out[to] = palette[entry] ?? 0;
      out[to + 1] = palette[entry + 1] ?? 0;
      out[to + 2] = palette[entry + 2] ?? 0;
    } else {
      let grey = row[from]!;
      if (depth < 8) grey = (packedSample(row, x, depth) * 255) / levels;
      else if (depth === 16 && colorType === 0 && grey > 0) grey = 255;
      else if (depth === 16 && colorType === 0) grey = row[from + 1]!;
      out[to] = grey;
      out[to + 1] = grey;
      out[to + 2] = grey;
    }
  }
}

/** The x-th sample of 1, 2 or 4 bits; the leftmost is in the highest bits. */
function packedSample(row: Uint8Array, x: number, depth: number): number {
  const bit = x * depth;
  return (row[1 + (bit >> 3)]! >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
}
