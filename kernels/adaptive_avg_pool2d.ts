import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "adaptive_avg_pool2d",
  source: new URL("../shaders/adaptive_avg_pool2d.wgsl", import.meta.url),
  buffers: { x: "read", y: "write" },
  params: { size: "u32", height: "u32", width: "u32", channels: "u32", out_height: "u32", out_width: "u32" },
});

const WORKGROUP_SIZE = 64;

/**
 * Averages the map over a grid of windows, as PyTorch's `AdaptiveAvgPool2d`.
 *
 * Window i of n over an axis of length L is [⌊i·L/n⌋, ⌈(i+1)·L/n⌉): windows overlap where n does not divide L, and
 * repeat pixels where n > L.
 *
 * @param x     [B, H, W, C]
 * @param grid  height and width of the result
 * @returns     [B, ...grid, C], element type of `x`
 * @throws ShapeError when the grid is empty
 */
export function adaptiveAvgPool2d(x: Tensor, grid: readonly [number, number]): Tensor {
  const { B, H, W, C } = x.dims("B H W C");
  const [h, w] = grid;
  if (!(h > 0 && w > 0))
    throw new ShapeError(`adaptive_avg_pool2d: expected a grid of at least 1 × 1, got ${h} × ${w}`);
  const y = x.like([B, h, w, C]);
  const params = { size: y.size, height: H, width: W, channels: C, out_height: h, out_width: w };
  kernel.run({ x, y }, params, { workgroups: Math.ceil(y.size / WORKGROUP_SIZE) });
  return y;
}
