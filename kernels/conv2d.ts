import { InputError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { BYTES, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { rowBands, viewRows } from "./row_bands.ts";

const kernel = defineKernel({
  name: "conv2d",
  source: new URL("../shaders/conv2d.wgsl", import.meta.url),
  buffers: { x: "read", weight: "read", bias: "read?", y: "write" },
  params: {
    height: "u32",
    width: "u32",
    inputs: "u32",
    out_height: "u32",
    out_width: "u32",
    outputs: "u32",
    stride: "u32",
    first: "u32",
    rows: "u32",
    x_row: "u32",
    y_row: "u32",
  },
  overrides: ["HAS_BIAS", "GELU"],
});

const PIXELS_PER_THREAD = 8;
const CHANNELS_PER_THREAD = 4;
const WORKGROUP_SIZE = 64;

/**
 * Dense 3×3 convolution with zero padding 1, then optionally GELU (the exact one, by erf).
 *
 * @param x                   [B, H, W, I]
 * @param weight              [3, 3, I, O]
 * @param options.bias        [O]. Default none
 * @param options.stride      rows and columns between windows
 * @param options.activation  default none
 * @returns                   [B, ⌈H / stride⌉, ⌈W / stride⌉, O], element type of `x`
 * @throws ShapeError when `weight` or `bias` does not fit
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  options: { readonly bias?: Tensor | undefined; readonly stride: number; readonly activation?: "gelu" },
): Tensor {
  const { bias, stride } = options;
  const { B, H, W, I } = x.dims("B H W I");
  const O = weight.shape.at(-1) ?? 0;
  expectShape("conv2d: weight", weight, [3, 3, I, O]);
  if (bias) expectShape("conv2d: bias", bias, [O]);
  if (!(Number.isInteger(stride) && stride > 0)) throw new InputError(`conv2d: expected a whole stride, got ${stride}`);
  const outHeight = Math.ceil(H / stride);
  const outWidth = Math.ceil(W / stride);
  const y = x.like([B, outHeight, outWidth, O]);
  const element = BYTES[x.dtype];
  const sizes = { images: B, height: H, outHeight, kernel: 3, stride };
  const bytes = { xRowBytes: W * I * element, yRowBytes: outWidth * O * element };
  for (const band of rowBands({ ...sizes, ...bytes }, x.gpu.maxBindingBytes)) {
    const { first, rows } = band;
    const threads = rows * Math.ceil(outWidth / PIXELS_PER_THREAD) * Math.ceil(O / CHANNELS_PER_THREAD);
    kernel.run(
      { x: viewRows(x, band.x), weight, bias, y: viewRows(y, band.y) },
      {
        height: H,
        width: W,
        inputs: I,
        out_height: outHeight,
        out_width: outWidth,
        outputs: O,
        stride,
        first,
        rows,
        x_row: band.x.from,
        y_row: band.y.from,
      },
      {
        workgroups: Math.ceil(threads / WORKGROUP_SIZE),
        overrides: { HAS_BIAS: bias !== undefined, GELU: options.activation === "gelu" },
      },
    );
  }
  return y;
}
