import { defineKernel } from "../src/gpu/kernel.ts";
import { type Matrix, QuantizedTensor } from "../src/tensor/quantized.ts";
import { BYTES, type DType, expectDType, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";
import { embedQuantized } from "./embed_quantized.ts";

const kernel = defineKernel({
  name: "embed",
  source: new URL("../shaders/embed.wgsl", import.meta.url),
  buffers: { ids: "read", table: "read", y: "update" },
  params: { size: "u32", dim: "u32", first: "u32", rows: "u32", vocab: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

/**
 * Looks up any number of rows of an embedding table of any size.
 *
 * @param ids    u32 [T]; an id past the table gives zeros
 * @param table  [V, D], of numbers or quantised
 * @returns      [T, D] of type `dtype`
 */
export function embed(ids: Tensor, table: Matrix, dtype: DType): Tensor {
  if (table instanceof QuantizedTensor) return embedQuantized(ids, table, dtype);
  expectDType("embed: ids", ids, "u32");
  const { T } = ids.dims("T");
  const { V, D } = table.dims("V D");
  const y = table.gpu.empty([T, D], dtype);
  const { maxBindingBytes } = table.gpu;
  for (const [start, end] of rowChunks(T, [BYTES.u32, D * BYTES[dtype]], maxBindingBytes)) {
    const size = (end - start) * D;
    const part = { ids: ids.rows(start, end), y: y.rows(start, end) };
    for (const [from, to] of rowChunks(V, [D * BYTES[table.dtype]], maxBindingBytes)) {
      const params = { size, dim: D, first: from, rows: to - from, vocab: V };
      kernel.run({ ...part, table: table.rows(from, to) }, params, { workgroups: Math.ceil(size / 64) });
    }
  }
  return y;
}
