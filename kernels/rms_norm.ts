import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "rms_norm",
  source: new URL("../shaders/rms_norm.wgsl", import.meta.url),
  buffers: { x: "read", weight: "read", y: "write" },
  params: { rows: "u32", dim: "u32", eps: "f32" },
  overrides: ["WORKGROUP_SIZE"],
});

/**
 * Root-mean-square normalisation of the last axis (arXiv 1910.07467): `y = weight · x / sqrt(mean(x²) + eps)`.
 *
 * @param x       [..., C]
 * @param weight  [C]
 * @param eps     added to the mean square, before the root
 * @returns       [..., C], element type of `x`
 * @throws ShapeError when `weight` is not [C]
 */
export function rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  const dim = x.shape.at(-1) ?? 1;
  expectShape("rms_norm: weight", weight, [dim]);
  const rows = x.size / dim;
  const y = x.like();
  kernel.run({ x, weight, y }, { rows, dim, eps }, { workgroups: rows });
  return y;
}
