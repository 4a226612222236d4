import { InputError, ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { BYTES, type Tensor } from "../src/tensor/tensor.ts";
import { rowBands, viewRows } from "./row_bands.ts";

const kernel = defineKernel({
  name: "im2col",
  source: new URL("../shaders/im2col.wgsl", import.meta.url),
  buffers: { x: "read", y: "write" },
  params: {
    height: "u32",
    width: "u32",
    out_height: "u32",
    out_width: "u32",
    stride: "u32",
    first: "u32",
    rows: "u32",
    x_row: "u32",
    y_row: "u32",
  },
  overrides: ["WORKGROUP_SIZE", "KERNEL", "INPUTS", "QUADS"],
});

const WORKGROUP_SIZE = 64;

/**
 * The window that a dense convolution sees from each of its places, as one row: the convolution, with padding ⌊K/2⌋, is then
 * `linear` with a weight of the same order, row by row of the window, channels innermost.
 *
 * @param x               [B, H, W, I]
 * @param options.kernel  side K of the window, odd
 * @param options.stride  rows and columns between windows
 * @param options.length  L, elements of a row, a multiple of 4; zeros follow the window's K·K·I
 * @returns               [B, ⌈H / stride⌉, ⌈W / stride⌉, L], element type of `x`
 * @throws ShapeError when a row is too short or no multiple of 4; InputError for a kernel or stride that is none
 */
export function im2col(
  x: Tensor,
  options: { readonly kernel: number; readonly stride: number; readonly length: number },
): Tensor {
  const { kernel: K, stride, length } = options;
  const { B, H, W, I } = x.dims("B H W I");
  if (K % 2 !== 1) throw new InputError(`im2col: expected an odd kernel, got ${K}`);
  if (!(Number.isInteger(stride) && stride > 0)) throw new InputError(`im2col: expected a whole stride, got ${stride}`);
  if (length % 4 !== 0 || length < K * K * I) {
    throw new ShapeError(`im2col: expected rows of a multiple of 4, at least ${K * K * I}, got ${length}`);
  }
  const outHeight = Math.ceil(H / stride);
  const outWidth = Math.ceil(W / stride);
  const y = x.like([B, outHeight, outWidth, length]);
  const element = BYTES[x.dtype];
  const sizes = { images: B, height: H, outHeight, kernel: K, stride };
  const bytes = { xRowBytes: W * I * element, yRowBytes: outWidth * length * element };
  const overrides = { WORKGROUP_SIZE, KERNEL: K, INPUTS: I, QUADS: length / 4 };
  for (const band of rowBands({ ...sizes, ...bytes }, x.gpu.maxBindingBytes)) {
    const { first, rows } = band;
    kernel.run(
      { x: viewRows(x, band.x), y: viewRows(y, band.y) },
      {
        height: H,
        width: W,
        out_height: outHeight,
        out_width: outWidth,
        stride,
        first,
        rows,
        x_row: band.x.from,
        y_row: band.y.from,
      },
      { workgroups: Math.ceil((rows * outWidth * length) / 4 / WORKGROUP_SIZE), overrides },
    );
  }
  return y;
}
