import { defineKernel } from "../src/gpu/kernel.ts";
import { GROUP, type QuantizedTensor } from "../src/tensor/quantized.ts";
import { BYTES, type DType, expectDType, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";
import { FORMATS } from "./quant_formats.ts";

const kernel = defineKernel({
  name: "embed_quantized",
  source: new URL("../shaders/embed_quantized.wgsl", import.meta.url),
  buffers: { ids: "read", codes: "read", scales: "read", y: "update" },
  params: { size: "u32", dim: "u32", groups: "u32", first: "u32", rows: "u32", vocab: "u32" },
  overrides: ["WORKGROUP_SIZE", "FORMAT"],
});

/**
 * Looks up any number of rows of a quantised embedding table of any size; with all ids in order it is the table as numbers.
 *
 * @param ids       u32 [T]; an id past the table gives zeros
 * @param table     [V, D]
 * @param maxBytes  largest part of a tensor that one dispatch sees. Default: what the adapter can bind
 * @returns         [T, D] of type `dtype`
 */
export function embedQuantized(
  ids: Tensor,
  table: QuantizedTensor,
  dtype: DType,
  maxBytes: number = table.gpu.maxBindingBytes,
): Tensor {
  expectDType("embed: ids", ids, "u32");
  const { T } = ids.dims("T");
  const [V, D] = table.shape;
  const y = table.gpu.empty([T, D], dtype);
  const [blocks = 0] = table.codes.shape;
  const blockBytes = [table.codes.bytes / blocks, table.scales.bytes / blocks];
  for (const [start, end] of rowChunks(T, [BYTES.u32, D * BYTES[dtype]], maxBytes)) {
    const size = (end - start) * D;
    for (const [first, last] of rowChunks(blocks, blockBytes, maxBytes)) {
      const part = table.rows(first * 8, Math.min(last * 8, V));
      kernel.run(
        { ids: ids.rows(start, end), codes: part.codes, scales: part.scales, y: y.rows(start, end) },
        { size, dim: D, groups: 2 * Math.ceil(D / GROUP / 2), first: first * 8, rows: part.shape[0], vocab: V },
        { workgroups: Math.ceil(size / 64), overrides: { FORMAT: FORMATS[table.format] } },
      );
    }
  }
  return y;
}
