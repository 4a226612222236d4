import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "half_rows",
  source: new URL("../shaders/half_rows.wgsl", import.meta.url),
  buffers: { x: "read", y: "write", factor: "write" },
  params: { rows: "u32", dim: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

/** Threads of a row: its length is thousands, and a long chain of barriers costs more than a few loads more. */
const WORKGROUP_SIZE = 128;

/**
 * Brings each row into the range of f16 by a power of two: the activations of models trained in bfloat16 outgrow it.
 *
 * @param x  [R, C], C a multiple of 4
 * @returns  rows f16 [R, C], and what each has been divided by, f32 [R]; `x` itself and no factors where it is f16 already
 * @throws ShapeError when C is no multiple of 4
 */
export function halfRows(x: Tensor): { rows: Tensor; factor: Tensor | undefined } {
  if (x.dtype === "f16") return { rows: x, factor: undefined };
  const { R, C } = x.dims("R C");
  if (C % 4 !== 0) throw new ShapeError(`half_rows: x: expected rows of a multiple of 4 elements, got ${C}`);
  const y = x.gpu.empty([R, C], "f16");
  const factor = x.gpu.empty([R], "f32");
  kernel.run({ x, y, factor }, { rows: R, dim: C }, { workgroups: R, overrides: { WORKGROUP_SIZE } });
  return { rows: y, factor };
}
