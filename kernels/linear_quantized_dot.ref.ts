import { GROUP, QUANT_FORMATS, type QuantFormat } from "../src/tensor/quantized.ts";
import { bytesRef, clearOfEdges } from "./byte_rows.ref.ts";
import { defineSuite, f32, type HostTensor, scaled } from "./case.ts";
import { linearRef } from "./linear.ref.ts";
import { quantizedInputs, quantizedTensor, weightsRef } from "./linear_quantized.ref.ts";
import { linearQuantizedBy } from "./linear_quantized.ts";
import { rmsNormRef } from "./rms_norm.ref.ts";

const EPS = 1e-6;

/** What bytes stand for, once rounded. */
function roundedRef(x: ArrayLike<number>): Float64Array {
  const { codes, scales } = bytesRef(x);
  return Float64Array.from(codes, (code, i) => code * scales[Math.floor(i / GROUP)]!);
}

interface Case {
  readonly format: QuantFormat;
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly norm?: boolean;
  readonly bias?: boolean;
  readonly residual?: boolean;
  /** Activations stay f32 whatever the precision, as in the language model. */
  readonly wide?: boolean;
  readonly maxBytes?: number;
  /** Multiplies every other group of x. */
  readonly gain?: number;
  /** Multiplies the first input of every third group. */
  readonly outlier?: number;
}

const ALL = { bias: true, residual: true } as const;

/** Prompts of Qwen2-0.5B. */
const MODELS: readonly Case[] = [
  { format: "int4", rows: 310, inputs: 896, outputs: 1152, norm: true, ...ALL, wide: true }, // packed projection
  { format: "int4", rows: 290, inputs: 896, outputs: 608, norm: true, wide: true }, // part of gate and up
  { format: "int4-affine", rows: 70, inputs: 4864, outputs: 200, ...ALL, wide: true }, // part of down
  { format: "int8", rows: 140, inputs: 896, outputs: 200, ...ALL, wide: true }, // part of output
];

/**
 * Odd numbers of groups, sizes that fill no tile and pass it by one, tensors that must be cut, groups of zeros and of outliers. Few
 * combinations of types and fused steps: CPU adapters take seconds to compile each.
 */
const ODD: readonly Case[] = QUANT_FORMATS.flatMap((format): Case[] => {
  const rest = { ...ALL, format, wide: format !== "int4" };
  return [
    { ...rest, rows: 13, inputs: 96, outputs: 75 },
    { ...rest, rows: 65, inputs: 160, outputs: 65 },
    { ...rest, rows: 1, inputs: 32, outputs: 1 },
    { ...rest, rows: 70, inputs: 64, outputs: 100, maxBytes: 4096 },
    { ...rest, rows: 9, inputs: 96, outputs: 16, gain: 0 },
    { ...rest, rows: 9, inputs: 288, outputs: 72, outlier: 1000 },
    { ...rest, rows: 9, inputs: 64, outputs: 64, gain: 1e6, wide: true }, // past what halfs hold
  ];
});

export default defineSuite<Case>({
  name: "linear_quantized_dot",
  cases: [...MODELS, ...ODD],
  inputs({ format, rows, inputs, outputs, wide, gain = 1, outlier = 1, ...has }, random) {
    const free = (tensor: HostTensor) => (wide ? f32(tensor) : tensor);
    const x = scaled(random([rows, inputs]), inputs ** -0.5);
    const factor = (i: number): number =>
      (Math.floor(i / GROUP) % 2 === 1 ? gain : 1) * (i % (3 * GROUP) === 0 ? outlier : 1);
    return {
      // Codes that are certain: everything but them is then compared as exactly as for weights times numbers.
      x: free(clearOfEdges({ ...x, data: Float32Array.from(x.data, (v, i) => v * factor(i)) })),
      ...quantizedInputs(random([outputs, inputs]), format),
      // The same within a group, so that the norm moves none of its numbers against another.
      ...(has.norm && { norm: f32({ shape: [inputs], data: Float32Array.from({ length: inputs }, gainOf) }) }),
      ...(has.bias && { bias: free(random([outputs])) }),
      ...(has.residual && { residual: free(random([rows, outputs])) }),
    };
  },
  run({ x, norm: gains, bias, residual, ...codes }, { format, inputs, outputs, maxBytes }) {
    const weight = quantizedTensor(codes, format, [outputs, inputs]);
    const norm = gains && { weight: gains, eps: EPS };
    return linearQuantizedBy({ variant: "dot", ...(maxBytes && { maxBytes }) }, x!, weight, { norm, bias, residual });
  },
  reference({ x, norm, codes, scales, bias, residual }, { format, inputs, outputs }) {
    const rounded = roundedRef(norm ? rmsNormRef(x!, norm, EPS) : x!);
    return linearRef(rounded, weightsRef(codes!, scales!, format, outputs, inputs), outputs, { bias, residual });
  },
  tolerance: { f32: 1e-11, f16: 1e-6 },
  bytes: ({ format, rows, inputs, outputs }, element) =>
    (rows * inputs + rows * outputs) * element +
    inputs * outputs * { int4: 0.5625, "int4-affine": 0.625, int8: 1.0625 }[format],
  flops: ({ rows, inputs, outputs }) => 2 * rows * inputs * outputs,
  supports: ({ adapter }) => adapter.packedDot,
});

/** Gain of an input: 1, −2, 3, … by groups. */
function gainOf(_: unknown, c: number): number {
  const g = Math.floor(c / GROUP);
  return (g + 1) * (g % 2 === 0 ? 1 : -1);
}
