import type { Rectangle, Size } from "../../kernels/resize.ts";
import { PRECISION_BITS, type ResizeWeights, resizeWeights } from "../../kernels/resize_weights.ts";
import { InputError } from "../errors.ts";
import type { Pixels } from "./pixels.ts";

/**
 * How a picture becomes a square.
 *
 * `"pad"`: centred on a square canvas, which is then resized (Apple's FastVLM). `"crop"`: the shortest edge is resized and
 * the centre cut out, so the sides of a long picture are lost (transformers).
 */
export type ResizeMode = "pad" | "crop";

export type Rgb = readonly [red: number, green: number, blue: number];

export interface PreprocessOptions {
  readonly mode: ResizeMode;
  /** Side of the square result, in pixels. */
  readonly size: number;
  /** Colour of the padding, 0 to 255: `trunc(255 · mean)` of the checkpoint. Default black */
  readonly fill?: Rgb;
}

/** Geometry of one resize: source → canvas → resized → the square that the model sees. All in pixels. */
export interface PreprocessPlan {
  readonly source: Size;
  /** What the source lies on, and where. */
  readonly canvas: Rectangle;
  readonly fill: Rgb;
  /** Size of the whole canvas afterwards. */
  readonly size: Size;
  /** The square part of the resized canvas that is kept. */
  readonly crop: Rectangle;
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
  throw new InputError(
    `image size: expected a multiple of ${SIZE_STEP} from ${SIZE_STEP} to ${MAX_SIZE}, got ${size}`,
    {
      hint: Number.isNaN(nearest) ? "FastVLM was trained with 1024" : `the nearest such size is ${nearest}`,
    },
  );
}

/**
 * Plans the way from a picture of any size to the model's square input.
 *
 * @param width  of the picture, in pixels, at least 1
 * @param height of the picture, in pixels, at least 1
 */
export function planResize(width: number, height: number, options: PreprocessOptions): PreprocessPlan {
  const { mode, size: side, fill = [0, 0, 0] } = options;
  const square = { width: side, height: side };
  const source = { width, height };
  if (mode === "pad") {
    const longest = Math.max(width, height);
    // An odd remainder goes to the right and to the bottom.
    const [left, top] = [Math.floor((longest - width) / 2), Math.floor((longest - height) / 2)];
    const canvas = { left, top, width: longest, height: longest };
    return { source, canvas, fill, size: square, crop: { left: 0, top: 0, ...square } };
  }
  const shortest = Math.min(width, height);
  const size = { width: Math.trunc((side * width) / shortest), height: Math.trunc((side * height) / shortest) };
  const [left, top] = [Math.floor((size.width - side) / 2), Math.floor((size.height - side) / 2)];
  return { source, canvas: { left: 0, top: 0, ...source }, fill, size, crop: { left, top, ...square } };
}

/**
 * Resizes a picture as planned, with the exact result of Pillow's bicubic filter.
 *
 * @param pixels of the size that was planned for
 * @returns [side, side, 3] RGB, 0 to 255, row-major; the model's input is this divided by 255
 */
export function preprocess(pixels: Pixels, plan: PreprocessPlan): Uint8Array<ArrayBuffer> {
  const { source, canvas, size, crop } = plan;
  const columns = resizeWeights(canvas.width, size.width, { first: crop.left, count: crop.width });
  const rows = resizeWeights(canvas.height, size.height, { first: crop.top, count: crop.height });
  const acrossTaps = coveredTaps(columns, canvas.left, source.width);
  const downTaps = coveredTaps(rows, canvas.top, source.height);
  return resizeRows(resizeColumns(pixels, plan, acrossTaps, downTaps), plan, downTaps);
}

const HALF = 1 << (PRECISION_BITS - 1);

/** Weights of one axis without those that fall on padding. */
interface CoveredTaps {
  /** [outputs] first input that an output reads, counted from the picture's edge. */
  readonly inputs: Uint32Array;
  /** [outputs] from where to where in `weights` its weights stand; an empty range where it sees only padding. */
  readonly from: Uint32Array;
  readonly to: Uint32Array;
  readonly weights: Int32Array;
  /** [outputs] sum of the weights that fall on padding. */
  readonly padding: Int32Array;
  /** Range of inputs that any output reads. */
  readonly first: number;
  readonly end: number;
}

/** Padding has one colour, so its weights are added up here once and the padded canvas never has to exist. */
function coveredTaps({ starts, counts, weights, taps }: ResizeWeights, offset: number, length: number): CoveredTaps {
  const outputs = starts.length;
  const covered = {
    inputs: new Uint32Array(outputs),
    from: new Uint32Array(outputs),
    to: new Uint32Array(outputs),
    padding: new Int32Array(outputs),
  };
  for (let i = 0; i < outputs; i++) {
    const start = starts[i]!;
    const end = start + counts[i]!;
    const first = Math.min(Math.max(start, offset), offset + length);
    const last = Math.max(Math.min(end, offset + length), first);
    const window = i * taps - start;
    covered.inputs[i] = first - offset;
    covered.from[i] = window + first;
    covered.to[i] = window + last;
    for (let j = start; j < end; j++) if (j < first || j >= last) covered.padding[i]! += weights[window + j]!;
  }
  const last = outputs - 1;
  const end = covered.inputs[last]! + covered.to[last]! - covered.from[last]!;
  return { ...covered, weights, first: covered.inputs[0]!, end };
}

/** [H, W, 3] → [rows that are read, W', 3] */
function resizeColumns(pixels: Pixels, plan: PreprocessPlan, taps: CoveredTaps, rows: CoveredTaps): Uint8ClampedArray {
  const { data, width } = pixels;
  const { inputs, from, to, weights, padding } = taps;
  const [red, green, blue] = plan.fill;
  const outputs = plan.crop.width;
  const out = new Uint8ClampedArray((rows.end - rows.first) * outputs * 3); // clamps what bicubic overshoots
  let at = 0;
  for (let y = rows.first; y < rows.end; y++) {
    for (let x = 0; x < outputs; x++) {
      let r = HALF + red * padding[x]!;
      let g = HALF + green * padding[x]!;
      let b = HALF + blue * padding[x]!;
      let pixel = (y * width + inputs[x]!) * 3;
      const end = to[x]!;
      for (let tap = from[x]!; tap < end; tap++) {
        const weight = weights[tap]!;
        r = (r + Math.imul(weight, data[pixel]!)) | 0;
        g = (g + Math.imul(weight, data[pixel + 1]!)) | 0;
        b = (b + Math.imul(weight, data[pixel + 2]!)) | 0;
        pixel += 3;
      }
      out[at] = r >> PRECISION_BITS;
      out[at + 1] = g >> PRECISION_BITS;
      out[at + 2] = b >> PRECISION_BITS;
      at += 3;
    }
  }
  return out;
}

/** [rows that are read, W', 3] → [H', W', 3] */
function resizeRows(data: Uint8ClampedArray, plan: PreprocessPlan, taps: CoveredTaps): Uint8Array<ArrayBuffer> {
  const { crop, fill } = plan;
  const { inputs, from, to, weights, padding, first } = taps;
  const rowLength = crop.width * 3;
  const out = new Uint8ClampedArray(crop.height * rowLength);
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < crop.height; y++) {
    for (let i = 0; i < rowLength; i++) sums[i] = HALF + fill[i % 3]! * padding[y]!;
    let row = (inputs[y]! - first) * rowLength;
    for (let tap = from[y]!; tap < to[y]!; tap++) {
      const weight = weights[tap]!;
      for (let i = 0; i < rowLength; i++) sums[i] = (sums[i]! + Math.imul(weight, data[row + i]!)) | 0;
      row += rowLength;
    }
    const at = y * rowLength;
    for (let i = 0; i < rowLength; i++) out[at + i] = sums[i]! >> PRECISION_BITS;
  }
  return new Uint8Array(out.buffer);
}
