import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "layer_norm",
  source: new URL("../shaders/layer_norm.wgsl", import.meta.url),
  buffers: { x: "read", weight: "read", bias: "read", y: "write" },
  params: { rows: "u32", dim: "u32", eps: "f32" },
  overrides: ["WORKGROUP_SIZE"],
});

/**
 * Layer normalisation of the last axis (arXiv 1607.06450): `y = weight · (x − mean(x)) / sqrt(var(x) + eps) + bias`.
 *
 * The variance is the biased one, taken around the mean in a second pass.
 *
 * @param x       [..., C]
 * @param weight  [C]
 * @param bias    [C]
 * @param eps     added to the variance, before the root
 * @returns       [..., C], element type of `x`
 * @throws ShapeError when `weight` or `bias` is not [C]
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor {
  const dim = x.shape.at(-1) ?? 1;
  expectShape("layer_norm: weight", weight, [dim]);
  expectShape("layer_norm: bias", bias, [dim]);
  const rows = x.size / dim;
  const y = x.like();
  kernel.run({ x, weight, bias, y }, { rows, dim, eps }, { workgroups: rows });
  return y;
}
