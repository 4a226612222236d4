import { InputError, ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { BYTES, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { hasCpuLanes } from "./lanes.ts";
import { rowBands, viewRows } from "./row_bands.ts";

const BUFFERS = { x: "read", weight: "read", bias: "read?", y: "write" } as const;
/** Of the shaders that take channels in fours. */
const QUAD_PARAMS = {
  height: "u32",
  width: "u32",
  quads: "u32",
  out_height: "u32",
  out_width: "u32",
  first: "u32",
  rows: "u32",
  x_row: "u32",
  y_row: "u32",
} as const;

const scalar = defineKernel({
  name: "depthwise_conv2d",
  source: new URL("../shaders/depthwise_conv2d.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: {
    height: "u32",
    width: "u32",
    channels: "u32",
    out_height: "u32",
    out_width: "u32",
    outputs: "u32",
    stride: "u32",
    kernel: "u32",
    first: "u32",
    rows: "u32",
    x_row: "u32",
    y_row: "u32",
  },
  overrides: ["HAS_BIAS", "GELU"],
});

const vec4 = defineKernel({
  name: "depthwise_conv2d_vec4",
  source: new URL("../shaders/depthwise_conv2d_vec4.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: QUAD_PARAMS,
  overrides: ["HAS_BIAS", "GELU"],
  constants: ["KERNEL", "STRIDE"],
});

const half4 = defineKernel({
  name: "depthwise_conv2d_half4",
  source: new URL("../shaders/depthwise_conv2d_half4.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: QUAD_PARAMS,
  overrides: ["HAS_BIAS", "GELU"],
  constants: ["KERNEL", "STRIDE", "MULTIPLIER", "CPU"],
});

const walk = defineKernel({
  name: "depthwise_conv2d_walk",
  source: new URL("../shaders/depthwise_conv2d_walk.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: { height: "u32", width: "u32", quads: "u32", first: "u32", rows: "u32", x_row: "u32", y_row: "u32" },
  overrides: ["HAS_BIAS"],
  constants: ["KERNEL"],
});

const WORKGROUP_SIZE = 64;
const PIXELS_PER_THREAD = 8;
/** Of the shader that walks. */
const ROWS = 2;
const STRIP = 64;

/** Which shader computes a depthwise convolution of `channels` to `outputs` channels; `half` when all data is f16. */
export function pickDepthwise(channels: number, outputs: number, half: boolean): "scalar" | "vec4" | "half4" {
  if (outputs % 4 !== 0) return "scalar";
  if (half && (outputs === channels || outputs === 2 * channels)) return "half4";
  return outputs === channels ? "vec4" : "scalar";
}

/**
 * Depthwise K×K convolution with zero padding ⌊K/2⌋, then optionally GELU (the exact one, by erf).
 *
 * Output channel o reads input channel ⌊o / m⌋, where m = O / C is the multiplier. Maps larger than one binding are
 * computed in bands of rows.
 *
 * @param x                   [B, H, W, C]
 * @param weight              [K, K, O], K odd, O a multiple of C
 * @param options.bias        [O]. Default none
 * @param options.stride      rows and columns between windows
 * @param options.activation  default none
 * @returns                   [B, ⌈H / stride⌉, ⌈W / stride⌉, O], element type of `x`
 * @throws ShapeError when `weight` or `bias` does not fit, or a few rows alone exceed a binding
 */
export function depthwiseConv2d(
  x: Tensor,
  weight: Tensor,
  options: { readonly bias?: Tensor | undefined; readonly stride: number; readonly activation?: "gelu" },
): Tensor {
  const { bias, stride } = options;
  const { B, H, W, C } = x.dims("B H W C");
  const K = weight.shape[0] ?? 0;
  const O = weight.shape.at(-1) ?? 0;
  expectShape("depthwise_conv2d: weight", weight, [K, K, O]);
  if (bias) expectShape("depthwise_conv2d: bias", bias, [O]);
  if (K % 2 !== 1) throw new ShapeError(`depthwise_conv2d: expected an odd kernel size, got ${K}`);
  if (O % C !== 0) throw new ShapeError(`depthwise_conv2d: expected a multiple of ${C} output channels, got ${O}`);
  if (!(Number.isInteger(stride) && stride > 0)) {
    throw new InputError(`depthwise_conv2d: expected a whole stride, got ${stride}`);
  }
  const outHeight = Math.ceil(H / stride);
  const outWidth = Math.ceil(W / stride);
  const y = x.like([B, outHeight, outWidth, O]);
  const element = BYTES[x.dtype];
  const sizes = { images: B, height: H, outHeight, kernel: K, stride };
  const bytes = { xRowBytes: W * C * element, yRowBytes: outWidth * O * element };
  const overrides = { HAS_BIAS: bias !== undefined, GELU: options.activation === "gelu" };
  const variant = pickDepthwise(C, O, x.dtype === "f16" && weight.dtype === "f16");
  const onCpu = hasCpuLanes(x.gpu.adapter);
  // Where loads are dear.
  const mayWalk = onCpu && variant === "half4" && O === C && stride === 1 && !overrides.GELU;
  for (const band of rowBands({ ...sizes, ...bytes }, x.gpu.maxBindingBytes)) {
    const { first, rows } = band;
    const tensors = { x: viewRows(x, band.x), weight, bias, y: viewRows(y, band.y) };
    const where = { first, rows, x_row: band.x.from, y_row: band.y.from };
    const map = { height: H, width: W, out_height: outHeight, out_width: outWidth, ...where };
    if (variant === "scalar") {
      const workgroups = Math.ceil((rows * outWidth * O) / WORKGROUP_SIZE);
      scalar.run(tensors, { ...map, channels: C, outputs: O, stride, kernel: K }, { workgroups, overrides });
    } else if (mayWalk && [first, rows, H].every((n) => n % ROWS === 0)) {
      const workgroups = Math.ceil(((rows / ROWS) * Math.ceil(W / STRIP) * (C / 4)) / WORKGROUP_SIZE);
      const params = { height: H, width: W, quads: C / 4, ...where };
      walk.run(tensors, params, { workgroups, overrides: { HAS_BIAS: overrides.HAS_BIAS }, constants: { KERNEL: K } });
    } else {
      const threads = rows * Math.ceil(outWidth / PIXELS_PER_THREAD) * (O / 4);
      const workgroups = Math.ceil(threads / WORKGROUP_SIZE);
      const params = { ...map, quads: O / 4 };
      const constants = { KERNEL: K, STRIDE: stride };
      if (variant === "vec4") vec4.run(tensors, params, { workgroups, overrides, constants });
      else {
        const more = { MULTIPLIER: O / C, CPU: onCpu ? 1 : 0 };
        half4.run(tensors, params, { workgroups, overrides, constants: { ...constants, ...more } });
      }
    }
  }
  return y;
}
