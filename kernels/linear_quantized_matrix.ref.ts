import { QUANT_FORMATS } from "../src/tensor/quantized.ts";
import { type QuantizedCase, quantizedSuite } from "./linear_quantized.ref.ts";

const VARIANTS = ["matrix", "matrix_deep", "matrix_parts"] as const;

/** What each shader does with each format: odd numbers of groups, sizes that fill no tile, tensors that must be cut. */
const FORCED = QUANT_FORMATS.flatMap((format) =>
  VARIANTS.flatMap((variant): QuantizedCase[] => [
    { variant, format, rows: 13, inputs: 96, outputs: 76, bias: true, residual: true },
    { variant, format, rows: 13, inputs: 32, outputs: 4, wide: true },
    { variant, format, rows: 70, inputs: 64, outputs: 100, bias: true, maxBytes: 4096 },
  ]),
);

/** Several groups of inputs and tiles of outputs. */
const MODELS = VARIANTS.flatMap((variant): QuantizedCase[] => [
  { variant, format: "int4", rows: 310, inputs: 896, outputs: 1152, bias: true, wide: true }, // prefill, packed projection
  { variant, format: "int8", rows: 140, inputs: 256, outputs: 200, residual: true },
]);

/** Groups in parts, the last of them shorter. */
const PARTS: readonly QuantizedCase[] = [
  {
    variant: "matrix_parts",
    format: "int4",
    rows: 17,
    inputs: 992,
    outputs: 72,
    bias: true,
    residual: true,
    wide: true,
  },
  { variant: "matrix_parts", format: "int8", rows: 17, inputs: 992, outputs: 72, residual: true },
  { variant: "matrix_parts", format: "int4-affine", rows: 310, inputs: 4864, outputs: 896, residual: true, wide: true },
];

export default quantizedSuite("linear_quantized_matrix", [...FORCED, ...MODELS, ...PARTS]);
