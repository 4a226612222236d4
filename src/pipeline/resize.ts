import { resizeBicubic } from "../../kernels/resize.ts";
import type { AdapterSummary } from "../gpu/device.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Pixels } from "../image/pixels.ts";
import { type PreprocessPlan, preprocess } from "../image/preprocess.ts";
import { BYTES, Tensor } from "../tensor/tensor.ts";
import type { Square } from "./picture.ts";
import { writeBytes } from "./pixels.ts";

/** Of what goes in or comes out: less is resized by the CPU in about the time that sending and fetching take. */
const MIN_PIXELS = 2 ** 18;
/** Sides of whole resized pictures: tables of weights grow with them. */
const MAX_SIDE = 2 ** 13;

/** What the choice depends on. */
export interface Resizing {
  readonly adapter: Pick<AdapterSummary, "software">;
  readonly maxBindingBytes: number;
}

/** Whether a GPU resizes a picture sooner than the CPU; one that is the CPU never does. */
export function resizesOnGpu({ adapter, maxBindingBytes }: Resizing, plan: PreprocessPlan): boolean {
  const { source, size, crop, fill } = plan;
  const pixels = source.width * source.height;
  if (adapter.software || Math.max(pixels, crop.width * crop.height) < MIN_PIXELS) return false;
  if (Math.max(size.width, size.height) > MAX_SIDE) return false;
  const words = Math.max(Math.ceil((3 * pixels) / 4), source.height * crop.width);
  return words * BYTES.u32 <= maxBindingBytes && fill.every((level) => level === 0);
}

/** Asks for the pipelines of a resize. Call while rehearsing. */
export function rehearseResize(gpu: Gpu): void {
  const size = { width: 4, height: 4 };
  resizeBicubic(gpu.empty([12], "u32"), { source: size, size });
}

/** Resizes a picture as planned, wherever that is faster: the bytes are the same. */
export function resizePicture(gpu: Gpu, pixels: Pixels, plan: PreprocessPlan): Square {
  return resizesOnGpu(gpu, plan) ? preprocessOnGpu(gpu, pixels, plan) : preprocess(pixels, plan);
}

/** The same, on the host wherever it was done. */
export async function resizeToBytes(gpu: Gpu, pixels: Pixels, plan: PreprocessPlan): Promise<Uint8Array<ArrayBuffer>> {
  const square = resizePicture(gpu, pixels, plan);
  if (!(square instanceof Tensor)) return square;
  const read = gpu.readBytes(square);
  gpu.release(square);
  return new Uint8Array(await read);
}

/**
 * `preprocess` on the GPU, bit for bit; padding is black.
 *
 * @returns u32 words of RGB bytes [side, side, 3], lowest byte first, in memory of its own
 */
export function preprocessOnGpu(gpu: Gpu, pixels: Pixels, plan: PreprocessPlan): Tensor {
  const { source, canvas, size, crop } = plan;
  return gpu.scope(() => {
    const words = gpu.empty([Math.ceil((3 * source.width * source.height) / 4)], "u32");
    writeBytes(words, pixels.data);
    return resizeBicubic(words, { source, canvas, size, crop });
  });
}
