import type { QuantFormat } from "../src/tensor/quantized.ts";
import { defineSuite, u32 } from "./case.ts";
import { embedRef } from "./embed.ref.ts";
import { embedQuantized } from "./embed_quantized.ts";
import { quantizedInputs, quantizedTensor, weightsRef } from "./linear_quantized.ref.ts";

interface Case {
  readonly format: QuantFormat;
  readonly vocab: number;
  readonly dim: number;
  readonly ids: readonly number[];
  readonly maxBytes?: number;
}

export default defineSuite<Case>({
  name: "embed_quantized",
  cases: [
    { format: "int8", vocab: 200, dim: 896, ids: [0, 199, 7, 7, 42] }, // width of Qwen2-0.5B
    { format: "int4", vocab: 13, dim: 96, ids: [12, 3, 8] },
    { format: "int4-affine", vocab: 9, dim: 32, ids: [9, 1, 0xffffffff] }, // past the vocabulary: zeros
    { format: "int8", vocab: 100, dim: 64, ids: [0, 99, 50, 64], maxBytes: 2048 }, // a table that must be cut
  ],
  inputs: ({ format, vocab, dim, ids }, random) => ({
    ids: u32([ids.length], ids),
    ...quantizedInputs(random([vocab, dim]), format),
  }),
  run: ({ ids, ...codes }, { format, vocab, dim, maxBytes }) =>
    embedQuantized(ids!, quantizedTensor(codes, format, [vocab, dim]), "f32", maxBytes),
  reference: ({ ids, codes, scales }, { format, vocab, dim }) =>
    embedRef(ids!, weightsRef(codes!, scales!, format, vocab, dim), dim),
  tolerance: { f32: 1e-13, f16: 1e-13 },
  bytes: ({ format, dim, ids }) => ids.length * dim * (4 + (format === "int8" ? 1.0625 : 0.5625)),
});
