import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "swiglu",
  source: new URL("../shaders/swiglu.wgsl", import.meta.url),
  buffers: { gate_up: "read", y: "write" },
  params: { rows: "u32", dim: "u32" },
});

const WORKGROUP_SIZE = 64;
/** Rows that a thread takes one after another: on CPUs a workgroup costs more than its 64 results. */
const ROWS = 16;

/**
 * The gated activation of SwiGLU (arXiv 2002.05202): `y = up · silu(gate)`, silu(g) = g · sigmoid(g).
 *
 * @param gateUp  [T, 2I]: the first I columns are the gate, the rest is up
 * @returns       [T, I], element type of `gateUp`
 * @throws ShapeError when the number of columns is odd
 */
export function swiglu(gateUp: Tensor): Tensor {
  const { T, columns } = gateUp.dims("T columns");
  if (columns % 2 !== 0) throw new ShapeError(`swiglu: expected an even number of columns, got ${columns}`);
  const dim = columns / 2;
  const y = gateUp.like([T, dim]);
  const workgroups = [
    Math.ceil(dim / WORKGROUP_SIZE),
    Math.min(Math.ceil(T / ROWS), gateUp.gpu.maxWorkgroups),
  ] as const;
  kernel.run({ gate_up: gateUp, y }, { rows: T, dim }, { workgroups });
  return y;
}
