import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "argmax",
  source: new URL("../shaders/argmax.wgsl", import.meta.url),
  buffers: { x: "read", y: "write" },
  params: { rows: "u32", dim: "u32", limit: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

/**
 * Index of the largest element of each row; the lowest index on ties.
 *
 * @param x      [R, C]
 * @param limit  elements from here on are ignored. Default C
 * @param y      where to write, u32 [R]. Default: a new tensor
 * @returns      u32 [R]
 */
export function argmax(x: Tensor, limit?: number, y?: Tensor): Tensor {
  const { R, C } = x.dims("R C");
  const bound = limit ?? C;
  if (bound < 1 || bound > C) throw new ShapeError(`argmax: limit: expected 1…${C}, got ${bound}`);
  const ids = y ?? x.gpu.empty([R], "u32");
  expectShape("argmax: y", ids, [R]);
  kernel.run({ x, y: ids }, { rows: R, dim: C, limit: bound }, { workgroups: R });
  return ids;
}
