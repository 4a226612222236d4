import { type ResizeAxis, type ResizeWeights, resizeWeights, WEIGHT_BITS } from "../../kernels/resize_weights.ts";
import { InputError } from "../errors.ts";
import type { Pixels } from "./pixels.ts";

/**
 * How a picture becomes a square.
 *
 * `"pad"`: centred on a square canvas, which is then resized (Apple's FastVLM). `"crop"`: the shortest edge is resized and
 * the centre cut out, so the sides of a long picture are lost (transformers).
 */
export type ResizeMode = "pad" | "crop";

export interface ResizeOptions {
  readonly mode: ResizeMode;
  /** Side of the square result, in pixels. */
  readonly size: number;
  /** Colour of the padding, RGB, 0 to 255: `trunc(255 · mean)` of the checkpoint. Default black */
  readonly fill?: readonly [number, number, number];
}

/** Geometry of one resize: picture → canvas → resized → the square window that the model sees. All in pixels. */
export interface ResizePlan {
  readonly size: number;
  readonly fill: readonly [number, number, number];
  /** The picture's size, its canvas, and where on it the picture lies. */
  readonly source: { readonly width: number; readonly height: number };
  readonly canvas: { readonly width: number; readonly height: number; readonly left: number; readonly top: number };
  /** The canvas after the resize, and where on it the window of size × size lies. */
  readonly resized: { readonly width: number; readonly height: number; readonly left: number; readonly top: number };
}

/** FastViTHD halves its input six times. */
const SIZE_STEP = 64;
const MAX_SIZE = 4096;

/**
 * Checks an image size given by a user or a checkpoint.
 *
 * @returns the size
 * @throws InputError when it is not a multiple of 64 from 64 to 4096
 */
export function checkImageSize(size: number): number {
  if (Number.isInteger(size) && size % SIZE_STEP === 0 && size >= SIZE_STEP && size <= MAX_SIZE) return size;
  const nearest = Math.min(MAX_SIZE, Math.max(SIZE_STEP, Math.round(size / SIZE_STEP) * SIZE_STEP));
  throw new InputError(`image size: expected a multiple of ${SIZE_STEP} from ${SIZE_STEP} to ${MAX_SIZE}, got ${size}`, {
    hint: Number.isFinite(nearest) ? `the nearest such size is ${nearest}` : "1024 is what FastVLM was trained with",
  });
}

/**
 * Plans the way from a picture of any size to the model's square input.
 *
 * @param width  of the picture, in pixels, at least 1
 * @param height of the picture, in pixels, at least 1
 */
export function planResize(width: number, height: number, options: ResizeOptions): ResizePlan {
  const { mode, size, fill = [0, 0, 0] } = options;
  const source = { width, height };
  if (mode === "pad") {
    const side = Math.max(width, height);
    // An odd remainder goes to the right and to the bottom.
    const canvas = { width: side, height: side, left: (side - width) >> 1, top: (side - height) >> 1 };
    return { size, fill, source, canvas, resized: { width: size, height: size, left: 0, top: 0 } };
  }
  const shortest = Math.min(width, height);
  const scaled = (edge: number) => (edge === shortest ? size : Math.trunc((size * edge) / shortest));
  const resized = { width: scaled(width), height: scaled(height) };
  const middle = { left: (resized.width - size) >> 1, top: (resized.height - size) >> 1 };
  return { size, fill, source, canvas: { ...source, left: 0, top: 0 }, resized: { ...resized, ...middle } };
}

/** Weights of both axes of a plan, for the resize here and for the one on the GPU. */
export function planWeights(plan: ResizePlan): { columns: ResizeWeights; rows: ResizeWeights } {
  const { size, source, canvas, resized } = plan;
  const axis = (input: number, output: number, first: number, offset: number, length: number): ResizeAxis => {
    return { input, output, first, outputs: size, offset, length };
  };
  return {
    columns: resizeWeights(axis(canvas.width, resized.width, resized.left, canvas.left, source.width)),
    rows: resizeWeights(axis(canvas.height, resized.height, resized.top, canvas.top, source.height)),
  };
}

/**
 * Resizes a picture as planned, with the exact result of Pillow's bicubic filter.
 *
 * @param pixels of the size that was planned for
 * @returns [size, size, 3] RGB, 0 to 255, row-major; the model's input is this divided by 255
 */
export function preprocess(pixels: Pixels, plan: ResizePlan): Uint8Array<ArrayBuffer> {
  const { columns, rows } = planWeights(plan);
  // Rows that no output reads are not resized horizontally.
  const firstRow = rows.starts[0]!;
  const last = plan.size - 1;
  const endRow = Math.max(rows.starts[last]! + rows.counts[last]!, firstRow);
  const squeezed = resizeColumns(pixels, plan, columns, firstRow, endRow);
  return resizeRows(squeezed, plan, rows, firstRow);
}

const HALF = 1 << (WEIGHT_BITS - 1);

/** [H, W, 3] → [rows, size, 3] */
function resizeColumns(pixels: Pixels, plan: ResizePlan, table: ResizeWeights, firstRow: number, endRow: number) {
  const { data, width } = pixels;
  const { size, fill } = plan;
  const { starts, counts, weights, outside, taps } = table;
  const out = new Uint8ClampedArray((endRow - firstRow) * size * 3); // clamps what bicubic overshoots
  let to = 0;
  for (let y = firstRow; y < endRow; y++) {
    for (let x = 0; x < size; x++) {
      let r = HALF + fill[0] * outside[x]!;
      let g = HALF + fill[1] * outside[x]!;
      let b = HALF + fill[2] * outside[x]!;
      let from = (y * width + starts[x]!) * 3;
      const end = x * taps + counts[x]!;
      for (let tap = x * taps; tap < end; tap++) {
        const weight = weights[tap]!;
        r = (r + Math.imul(weight, data[from]!)) | 0;
        g = (g + Math.imul(weight, data[from + 1]!)) | 0;
        b = (b + Math.imul(weight, data[from + 2]!)) | 0;
        from += 3;
      }
      out[to] = r >> WEIGHT_BITS;
      out[to + 1] = g >> WEIGHT_BITS;
      out[to + 2] = b >> WEIGHT_BITS;
      to += 3;
    }
  }
  return out;
}

/** [rows, size, 3] → [size, size, 3] */
function resizeRows(data: Uint8ClampedArray, plan: ResizePlan, table: ResizeWeights, firstRow: number) {
  const { size, fill } = plan;
  const { starts, counts, weights, outside, taps } = table;
  const rowLength = size * 3;
  const out = new Uint8ClampedArray(size * rowLength);
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < size; y++) {
    for (let i = 0; i < rowLength; i++) sums[i] = HALF + fill[i % 3]! * outside[y]!;
    for (let tap = 0; tap < counts[y]!; tap++) {
      const weight = weights[y * taps + tap]!;
      const from = (starts[y]! + tap - firstRow) * rowLength;
      for (let i = 0; i < rowLength; i++) sums[i] = (sums[i]! + Math.imul(weight, data[from + i]!)) | 0;
    }
    const to = y * rowLength;
    for (let i = 0; i < rowLength; i++) out[to + i] = sums[i]! >> WEIGHT_BITS;
  }
  return new Uint8Array(out.buffer);
}
