import { ShapeError } from "../src/errors.ts";
import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "argmax",
  source: new URL("../shaders/argmax.wgsl", import.meta.url),
  buffers: { x: "read", y: "write" },
  params: { rows: "u32", dim: "u32", limit: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

const parts = defineKernel({
  name: "argmax_parts",
  source: new URL("../shaders/argmax_parts.wgsl", import.meta.url),
  buffers: { x: "read", best: "update" },
  params: { dim: "u32", limit: "u32", chunk: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

const finish = defineKernel({
  name: "argmax_finish",
  source: new URL("../shaders/argmax_finish.wgsl", import.meta.url),
  buffers: { best: "read", y: "write" },
  params: { rows: "u32", parts: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

/** Parts of a row, at most: enough workgroups for a GPU. */
const PARTS = 256;
/** Elements of a part, at least; a row of few parts is one workgroup's. */
const MIN_CHUNK = 1024;
const FEW_PARTS = 8;

/** In one run, a workgroup per row, or in two, of parts of rows and of their bests. */
export type ArgmaxVariant = "one" | "two";

/** A single workgroup cannot read a vocabulary at a GPU's speed; a CPU has few cores to share one. */
export const pickArgmax = (columns: number, { software }: AdapterSummary): ArgmaxVariant =>
  software || columns < FEW_PARTS * MIN_CHUNK ? "one" : "two";

/**
 * Index of the largest element of each row; the lowest index on ties.
 *
 * @param x      [R, C]
 * @param limit  elements from here on are ignored. Default C
 * @param y      where to write, u32 [R]. Default: a new tensor
 * @returns      u32 [R]
 */
export function argmax(x: Tensor, limit?: number, y?: Tensor): Tensor {
  return argmaxBy(pickArgmax(x.dims("R C").C, x.gpu.adapter), x, limit, y);
}

/** `argmax` with the choice of the shader left to the caller, for tests and benchmarks. */
export function argmaxBy(variant: ArgmaxVariant, x: Tensor, limit?: number, y?: Tensor): Tensor {
  const { gpu } = x;
  const { R, C } = x.dims("R C");
  const bound = limit ?? C;
  if (bound < 1 || bound > C) throw new ShapeError(`argmax: limit: expected 1…${C}, got ${bound}`);
  const ids = y ?? gpu.empty([R], "u32");
  expectShape("argmax: y", ids, [R]);
  if (variant === "one") {
    kernel.run({ x, y: ids }, { rows: R, dim: C, limit: bound }, { workgroups: R });
    return ids;
  }
  const chunk = Math.max(MIN_CHUNK, Math.ceil(C / PARTS));
  const count = Math.ceil(C / chunk);
  gpu.scope(() => {
    const best = gpu.empty([R, count, 2], "u32");
    parts.run({ x, best }, { dim: C, limit: bound, chunk }, { workgroups: [count, R] });
    finish.run({ best, y: ids }, { rows: R, parts: count }, { workgroups: R });
    return undefined;
  });
  return ids;
}
