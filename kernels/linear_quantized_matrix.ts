import { defineKernel } from "../src/gpu/kernel.ts";
import { GROUP, type QuantizedTensor } from "../src/tensor/quantized.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { halfRows } from "./half_rows.ts";
import { MATRIX_SPLITS, type MatrixVariant, partsOf, tilesOf } from "./matrices.ts";
import { FORMATS } from "./quant_formats.ts";
import { inParts } from "./sum_parts.ts";

const matrix = defineKernel({
  name: "linear_quantized_matrix",
  source: new URL("../shaders/linear_quantized_matrix.wgsl", import.meta.url),
  buffers: {
    x: "read",
    codes: "read",
    scales: "read",
    bias: "read?",
    residual: "read?",
    y: "update",
    factor: "read?",
  },
  params: {
    rows: "u32",
    inputs: "u32",
    outputs: "u32",
    first: "u32",
    stride: "u32",
    groups: "u32",
    part: "u32",
  },
  overrides: ["FORMAT", "HAS_FACTOR", "HAS_BIAS", "HAS_RESIDUAL"],
  constants: ["SPLIT"],
  features: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
});

interface Tensors {
  /** [R, C] */
  readonly x: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  /** [R, O] */
  readonly y: Tensor;
}

/**
 * One product of `linearQuantized` by matrices of subgroups; shapes have been checked.
 *
 * @param first  output that the weight's first row belongs to
 */
export function linearQuantizedMatrix(
  variant: MatrixVariant,
  { x, bias, residual, y }: Tensors,
  weight: QuantizedTensor,
  first: number,
): void {
  const { codes, scales, format } = weight;
  const [outputs, inputs] = weight.shape;
  const rows = x.shape[0]!;
  const { rows: halves, factor } = halfRows(x);
  const all = { x: halves, codes, scales };
  const count = Math.ceil(inputs / GROUP);
  const sizes = { rows, inputs, outputs, groups: 2 * Math.ceil(count / 2) };
  const FORMAT = FORMATS[format];
  const constants = { SPLIT: MATRIX_SPLITS[variant] };
  if (variant !== "matrix_parts") {
    const overrides = {
      FORMAT,
      HAS_FACTOR: factor !== undefined,
      HAS_BIAS: bias !== undefined,
      HAS_RESIDUAL: residual !== undefined,
    };
    const params = { ...sizes, first, stride: y.shape[1]!, part: count };
    matrix.run({ ...all, bias, residual, y, factor }, params, {
      workgroups: tilesOf(rows, outputs),
      overrides,
      constants,
    });
    return;
  }
  const part = Math.ceil(count / partsOf(sizes));
  const parts = Math.ceil(count / part);
  inParts(y, { parts, outputs }, { factor, bias, residual, first }, (sums) => {
    matrix.run(
      { ...all, bias: undefined, residual: undefined, y: sums, factor: undefined },
      { ...sizes, first: 0, stride: outputs, part },
      { workgroups: [tilesOf(rows, outputs), 1, parts], overrides: { FORMAT }, constants },
    );
  });
}
