import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { type Activations, GROUP, type QuantizedTensor } from "../src/tensor/quantized.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { byteRows } from "./byte_rows.ts";
import { tilesOf } from "./matrices.ts";
import { FORMATS } from "./quant_formats.ts";

const dot = defineKernel({
  name: "linear_quantized_dot",
  source: new URL("../shaders/linear_quantized_dot.wgsl", import.meta.url),
  buffers: {
    x: "read",
    factor: "read",
    codes: "read",
    scales: "read",
    bias: "read?",
    residual: "read?",
    y: "update",
  },
  params: { rows: "u32", inputs: "u32", outputs: "u32", first: "u32", stride: "u32", groups: "u32" },
  overrides: ["FORMAT", "HAS_BIAS", "HAS_RESIDUAL"],
});

/**
 * Fewer rows keep their inputs as they are: as many answers are decoded together at most, and each must be what it would be alone.
 */
export const MIN_DOT_ROWS = 65;

/** `["dot"]` where inputs of this many rows may be rounded to bytes, and WGSL multiplies those. */
export const quantizedDotCandidates = (
  rows: number,
  adapter: AdapterSummary,
  activations: Activations,
): readonly "dot"[] => (activations === "int8" && adapter.packedDot && rows >= MIN_DOT_ROWS ? ["dot"] : []);

/**
 * One dispatch of `linearQuantized`, behind one that rounds its inputs; shapes have been checked.
 *
 * @param first  the output that the weight's first row belongs to
 */
export function linearQuantizedDot(
  weight: QuantizedTensor,
  tensors: {
    readonly x: Tensor;
    readonly bias: Tensor | undefined;
    readonly residual: Tensor | undefined;
    readonly y: Tensor;
  },
  first: number,
): void {
  const { x, bias, residual, y } = tensors;
  const { codes, scales, format } = weight;
  const [outputs, inputs] = weight.shape;
  const rows = x.shape[0]!;
  const groups = 2 * Math.ceil(inputs / GROUP / 2);
  const bytes = byteRows(x, format === "int8" ? "plain" : "even-odd");
  dot.run(
    { x: bytes.codes, factor: bytes.scales, codes, scales, bias, residual, y },
    { rows, inputs, outputs, first, stride: y.shape[1]!, groups },
    {
      workgroups: tilesOf(rows, outputs),
      overrides: { FORMAT: FORMATS[format], HAS_BIAS: bias !== undefined, HAS_RESIDUAL: residual !== undefined },
    },
  );
}
