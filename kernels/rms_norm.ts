import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { hasEightLanes } from "./lanes.ts";

const BUFFERS = { x: "read", weight: "read", y: "write" } as const;
const PARAMS = { rows: "u32", dim: "u32", eps: "f32" } as const;

const group = defineKernel({
  name: "rms_norm",
  source: new URL("../shaders/rms_norm.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WORKGROUP_SIZE"],
});

const lanes = defineKernel({
  name: "rms_norm_lanes",
  source: new URL("../shaders/rms_norm_lanes.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  features: ["subgroups"],
});

/** A root-mean-square norm, as an option of what reads its result. */
export interface Norm {
  /** [C] */
  readonly weight: Tensor;
  /** Added to the mean square, before the root. */
  readonly eps: number;
}

export type RmsNormVariant = "group" | "lanes";

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
  const isLanes = hasEightLanes(x.gpu.adapter) && (x.shape.at(-1) ?? 1) % 4 === 0;
  return rmsNormBy(isLanes ? "lanes" : "group", x, weight, eps);
}

/** `rmsNorm` with the choice of the shader left to the caller, for tests and benchmarks. */
export function rmsNormBy(variant: RmsNormVariant, x: Tensor, weight: Tensor, eps: number): Tensor {
  const dim = x.shape.at(-1) ?? 1;
  expectShape("rms_norm: weight", weight, [dim]);
  const rows = x.size / dim;
  const y = x.like();
  (variant === "lanes" ? lanes : group).run({ x, weight, y }, { rows, dim, eps }, { workgroups: rows });
  return y;
}
