import { ShapeError } from "../src/errors.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

/** One run of a convolution: which output rows it computes, and the rows at which its views start. */
export interface RowBand {
  /** First output row and number of output rows, counted over all images. */
  readonly first: number;
  readonly rows: number;
  /** Rows of input and output that the band touches, `from` inclusive, `to` exclusive, counted over all images. */
  readonly x: { readonly from: number; readonly to: number };
  readonly y: { readonly from: number; readonly to: number };
}

/** Sizes of a convolution with padding `⌊kernel / 2⌋`; bytes are those of one row of one image. */
export interface ConvRows {
  readonly images: number;
  readonly height: number;
  readonly outHeight: number;
  readonly kernel: number;
  readonly stride: number;
  readonly xRowBytes: number;
  readonly yRowBytes: number;
}

/** Buffer offsets must be multiples of this (minStorageBufferOffsetAlignment). */
const ALIGNMENT = 256;

/**
 * Splits a convolution into runs whose input and output each fit into one binding.
 *
 * Neighbouring bands read a halo of `kernel − stride` common rows, and their views may start a few rows early, because
 * offsets must be multiples of 256 bytes.
 *
 * @throws ShapeError when the rows that one output row needs do not fit
 */
export function rowBands(conv: ConvRows, maxBytes: number): readonly RowBand[] {
  const { images, height, outHeight, kernel, stride } = conv;
  const total = images * outHeight;
  const xAlign = ALIGNMENT / divisor(conv.xRowBytes);
  const yAlign = ALIGNMENT / divisor(conv.yRowBytes);
  const whole = images * height * conv.xRowBytes <= maxBytes && total * conv.yRowBytes <= maxBytes;
  if (whole) {
    const x = { from: 0, to: images * height };
    return [{ first: 0, rows: total, x, y: { from: 0, to: total } }];
  }
  const xRows = Math.floor(maxBytes / conv.xRowBytes) - (xAlign - 1);
  const yRows = Math.floor(maxBytes / conv.yRowBytes) - (yAlign - 1);
  const step = Math.min(Math.floor((xRows - kernel) / stride) + 1, yRows);
  if (!(step >= 1 && xRows >= kernel)) {
    throw new ShapeError(
      `convolution: expected ${kernel} rows of at most ${maxBytes} bytes together, got ${conv.xRowBytes} bytes a row`,
      { hint: "Use a narrower image." },
    );
  }
  /** Input row, over all images, of tap `tap` for an output row; clamped to the image. */
  const inputRow = (row: number, tap: number) => {
    const y = (row % outHeight) * stride - Math.floor(kernel / 2) + tap;
    return Math.floor(row / outHeight) * height + Math.min(Math.max(y, 0), height - 1);
  };
  const bands: RowBand[] = [];
  for (let first = 0; first < total; first += step) {
    const rows = Math.min(step, total - first);
    const from = inputRow(first, 0);
    bands.push({
      first,
      rows,
      x: { from: from - (from % xAlign), to: inputRow(first + rows - 1, kernel - 1) + 1 },
      y: { from: first - (first % yAlign), to: first + rows },
    });
  }
  return bands;
}

/** [B, H, W, C] as one tensor of B·H rows, of which a view takes the given ones. */
export function viewRows(tensor: Tensor, { from, to }: RowBand["x"]): Tensor {
  const [images = 1, height = 1, ...rest] = tensor.shape;
  const rows = tensor.reshape([images * height, ...rest]);
  return from === 0 && to === images * height ? rows : rows.rows(from, to);
}

/** The largest power of two that divides `bytes`, at most the alignment. */
const divisor = (bytes: number): number => Math.min(bytes & -bytes, ALIGNMENT);
