import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { type DType, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { cpuLanes, hasCpuLanes, hasSubgroups } from "./lanes.ts";

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
  constants: ["LANES"],
  features: ["subgroups"],
});

const subgroup = defineKernel({
  name: "rms_norm_subgroup",
  source: new URL("../shaders/rms_norm_subgroup.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WORKGROUP_SIZE"],
  features: ["subgroups"],
});

/** A root-mean-square norm, as an option of what reads its result. */
export interface Norm {
  /** [C] */
  readonly weight: Tensor;
  /** Added to the mean square, before the root. */
  readonly eps: number;
}

export type RmsNormVariant = "group" | "lanes" | "subgroup";

/** Which shader serves rows of this length. */
export function pickRmsNorm(dim: number, adapter: AdapterSummary): RmsNormVariant {
  if (dim % 4 !== 0 || !hasSubgroups(adapter)) return "group";
  return hasCpuLanes(adapter) ? "lanes" : "subgroup";
}

/**
 * Root-mean-square normalisation of the last axis (arXiv 1910.07467): `y = weight · x / sqrt(mean(x²) + eps)`.
 *
 * @param x       [..., C]
 * @param weight  [C]
 * @param eps     added to the mean square, before the root
 * @param dtype   element type of the result; f16 will do whatever `x` is, since results are at most √C times a weight. Default: that of `x`
 * @returns       [..., C]
 * @throws ShapeError when `weight` is not [C]
 */
export function rmsNorm(x: Tensor, weight: Tensor, eps: number, dtype?: DType): Tensor {
  return rmsNormBy(pickRmsNorm(x.shape.at(-1) ?? 1, x.gpu.adapter), x, weight, eps, dtype);
}

/** `rmsNorm` with the choice of the shader left to the caller, for tests and benchmarks. */
export function rmsNormBy(
  variant: RmsNormVariant,
  x: Tensor,
  weight: Tensor,
  eps: number,
  dtype: DType = x.dtype,
): Tensor {
  const dim = x.shape.at(-1) ?? 1;
  expectShape("rms_norm: weight", weight, [dim]);
  const rows = x.size / dim;
  const y = x.gpu.empty(x.shape, dtype);
  const tensors = { x, weight, y };
  const params = { rows, dim, eps };
  if (variant === "lanes") {
    lanes.run(tensors, params, { workgroups: rows, constants: { LANES: cpuLanes(x.gpu.adapter) } });
  } else {
    (variant === "group" ? group : subgroup).run(tensors, params, { workgroups: rows });
  }
  return y;
}
