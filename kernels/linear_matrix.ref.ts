import { ALL, type LinearCase, linearSuite } from "./linear.ref.ts";

const VARIANTS = ["matrix", "matrix_deep", "matrix_parts", "matrix_wide"] as const;

/** Sizes that fill no tile, with every part of the epilogue and tensors that must be cut. */
const FORCED = VARIANTS.flatMap((variant): LinearCase[] => [
  { variant, rows: 13, inputs: 40, outputs: 196, ...ALL },
  { variant, rows: 13, inputs: 40, outputs: 196, ...ALL, wide: true },
  { variant, rows: 13, inputs: 40, outputs: 4 },
  { variant, rows: 300, inputs: 64, outputs: 196, ...ALL, maxBytes: 1 << 14 },
]);

/** Several slices of inputs and tiles of outputs, and activations that no f16 holds. */
const MODELS = VARIANTS.flatMap((variant): LinearCase[] => [
  { variant, rows: 310, inputs: 896, outputs: 1152, bias: true, wide: true }, // prefill, packed projection
  { variant, rows: 256, inputs: 384, outputs: 1536, bias: true, activation: "gelu" }, // vision tower, first half of an MLP
  { variant, rows: 256, inputs: 1536, outputs: 384, bias: true, scale: true, residual: true }, // and its second half
  { variant, rows: 33, inputs: 264, outputs: 72, residual: true, wide: true, gain: 1e6 },
]);

/** Inputs in parts, the last of them shorter. */
const PARTS: readonly LinearCase[] = [
  { variant: "matrix_parts", rows: 17, inputs: 1000, outputs: 72, ...ALL, wide: true },
  { variant: "matrix_parts", rows: 17, inputs: 1000, outputs: 72, bias: true, residual: true, wide: true, gain: 1e6 },
  { variant: "matrix_parts", rows: 310, inputs: 4864, outputs: 896, residual: true, wide: true }, // prefill, down projection
];

export default linearSuite("linear_matrix", [...FORCED, ...MODELS, ...PARTS]);
