import { ShapeError } from "../src/errors.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectDType, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";
import { resizeWeights } from "./resize_weights.ts";

const horizontal = defineKernel({
  name: "resize_horizontal",
  source: new URL("../shaders/resize_horizontal.wgsl", import.meta.url),
  buffers: { pixels: "read", windows: "read", weights: "read", middle: "update" },
  params: {
    rows: "u32",
    first_row: "u32",
    source_width: "u32",
    canvas_left: "u32",
    width: "u32",
    crop_left: "u32",
    taps: "u32",
  },
});

const vertical = defineKernel({
  name: "resize_vertical",
  source: new URL("../shaders/resize_vertical.wgsl", import.meta.url),
  buffers: { middle: "read", windows: "read", weights: "read", y: "write" },
  params: {
    height: "u32",
    width: "u32",
    source_height: "u32",
    canvas_top: "u32",
    crop_top: "u32",
    taps: "u32",
  },
});

const WORKGROUP_SIZE = 64;

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A rectangle; `left` and `top` count pixels of what it lies on. */
export interface Rectangle extends Size {
  readonly left: number;
  readonly top: number;
}

export interface ResizeOptions {
  readonly source: Size;
  /** Black canvas that the source lies on; `left` and `top` say where on it. Default: just the source */
  readonly canvas?: Rectangle;
  /** Size of the whole canvas afterwards. */
  readonly size: Size;
  /** The part of the resized canvas to return. Default: all of it */
  readonly crop?: Rectangle;
}

/**
 * Bicubic resize of 8-bit pixels, equal to Pillow's bit for bit: fixed-point weights, rows first, 8 bits in between.
 *
 * @param pixels  u32 [⌈3·width·height / 4⌉], the RGB bytes of the source, 4 per word, lowest byte first
 * @returns       u32 [⌈3·H·W / 4⌉], the RGB bytes of the crop, packed alike
 * @throws ShapeError when `pixels` has another length, the source leaves the canvas, or the crop leaves the result
 */
export function resizeBicubic(pixels: Tensor, options: ResizeOptions): Tensor {
  const { source, size } = options;
  const canvas = options.canvas ?? { left: 0, top: 0, ...source };
  const crop = options.crop ?? { left: 0, top: 0, ...size };
  expectDType("resize: pixels", pixels, "u32");
  expectShape("resize: pixels", pixels, [Math.ceil((3 * source.width * source.height) / 4)]);
  checkInside("source", { ...source, left: canvas.left, top: canvas.top }, "canvas", canvas);
  checkInside("crop", crop, "resized image", size);
  const { gpu } = pixels;
  return gpu.scope(() => {
    const columns = upload(gpu, canvas.width, size.width);
    const rows = upload(gpu, canvas.height, size.height);
    const middle = gpu.empty([source.height, crop.width], "u32");
    for (const [from, to] of rowChunks(source.height, [3 * source.width], gpu.maxBindingBytes)) {
      const words = [(3 * source.width * from) / 4, Math.ceil((3 * source.width * to) / 4)] as const;
      horizontal.run(
        { pixels: pixels.rows(...words), windows: columns.windows, weights: columns.weights, middle },
        {
          rows: to - from,
          first_row: from,
          source_width: source.width,
          canvas_left: canvas.left,
          width: crop.width,
          crop_left: crop.left,
          taps: columns.taps,
        },
        { workgroups: Math.ceil(((to - from) * crop.width) / WORKGROUP_SIZE) },
      );
    }
    const y = gpu.empty([Math.ceil((3 * crop.height * crop.width) / 4)], "u32");
    vertical.run(
      { middle, windows: rows.windows, weights: rows.weights, y },
      {
        height: crop.height,
        width: crop.width,
        source_height: source.height,
        canvas_top: canvas.top,
        crop_top: crop.top,
        taps: rows.taps,
      },
      { workgroups: Math.ceil(y.size / 3 / WORKGROUP_SIZE) },
    );
    return y;
  });
}

function upload(gpu: Gpu, input: number, output: number): { windows: Tensor; weights: Tensor; taps: number } {
  const { taps, starts, counts, weights } = resizeWeights(input, output);
  const windows = Uint32Array.from({ length: 2 * output }, (_, i) => (i % 2 === 0 ? starts : counts)[i >> 1]!);
  return {
    windows: gpu.upload([output, 2], "u32", windows),
    weights: gpu.upload([output, taps], "u32", weights),
    taps,
  };
}

function checkInside(what: string, inner: Rectangle, where: string, outer: Size): void {
  const { left, top, width, height } = inner;
  const inside = left >= 0 && top >= 0 && left + width <= outer.width && top + height <= outer.height;
  if (inside && width > 0 && height > 0) return;
  throw new ShapeError(
    `resize: ${what}: expected a part of the ${outer.width} × ${outer.height} ${where}, got ${width} × ${height} at (${left}, ${top})`,
  );
}
