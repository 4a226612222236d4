import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { BYTES, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";

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
 * @param gateUp    [T, 2I]: the first I columns are the gate, the rest is up
 * @param maxBytes  largest part of a tensor that one dispatch sees. Default: what the adapter can bind
 * @returns         [T, I], element type of `gateUp`
 * @throws ShapeError when the number of columns is odd
 */
export function swiglu(gateUp: Tensor, maxBytes: number = gateUp.gpu.maxBindingBytes): Tensor {
  const { T, columns } = gateUp.dims("T columns");
  if (columns % 2 !== 0) throw new ShapeError(`swiglu: expected an even number of columns, got ${columns}`);
  const dim = columns / 2;
  const y = gateUp.like([T, dim]);
  const rowBytes = [columns, dim].map((width) => width * BYTES[gateUp.dtype]);
  for (const [from, to] of rowChunks(T, rowBytes, maxBytes)) {
    const down = Math.min(Math.ceil((to - from) / ROWS), gateUp.gpu.maxWorkgroups);
    const tensors = { gate_up: gateUp.rows(from, to), y: y.rows(from, to) };
    kernel.run(tensors, { rows: to - from, dim }, { workgroups: [Math.ceil(dim / WORKGROUP_SIZE), down] });
  }
  return y;
}
