import { fromHalf } from "../src/tensor/half.ts";
import { GROUP, QUANT_FORMATS, type QuantFormat, QuantizedTensor, quantLayout } from "../src/tensor/quantized.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { interleave, quantize } from "../weights/quant.ts";
import { type AnySuite, defineSuite, f32, type HostTensor, scaled, u32 } from "./case.ts";
import { hasCpuLanes } from "./lanes.ts";
import { linearRef } from "./linear.ref.ts";
import { fusedSwiglu, linearQuantizedBy, type QuantizedPlan, quantizedCandidates } from "./linear_quantized.ts";
import { hasMatrices, isMatrix } from "./matrices.ts";
import { swigluRef } from "./swiglu.ref.ts";

/** Weight [o, c] of a matrix in the layout of `QuantizedTensor`, for every o and c. */
export function weightsRef(
  codes: ArrayLike<number>,
  scales: ArrayLike<number>,
  format: QuantFormat,
  outputs: number,
  inputs: number,
): Float64Array {
  const { units, words } = quantLayout(format, [outputs, inputs]);
  const perWord = format === "int8" ? 4 : 8;
  const weights = new Float64Array(outputs * inputs);
  for (let o = 0; o < outputs; o++) {
    const [block, lane] = [Math.floor(o / 8), o % 8];
    for (let c = 0; c < inputs; c++) {
      const unit = Math.floor(c / (4 * perWord));
      const word = codes[((block * units + unit) * 8 + lane) * 4 + (Math.floor(c / perWord) % 4)]!;
      const raw = Math.floor(word / 2 ** ((c % perWord) * (32 / perWord))) % 2 ** (32 / perWord);
      const g = Math.floor(c / GROUP);
      const isAffine = format === "int4-affine";
      const pair = scales[(block * words + (isAffine ? g : Math.floor(g / 2))) * 8 + lane]!;
      const [low, high] = [fromHalf(pair % 65536), fromHalf(Math.floor(pair / 65536))];
      const code = format === "int8" ? (raw > 127 ? raw - 256 : raw) : isAffine ? raw : raw - 8;
      weights[o * inputs + c] = isAffine ? low * code + high : (g % 2 === 0 ? low : high) * code;
    }
  }
  return weights;
}

/** Codes and scales of a random matrix, for the inputs of a case. */
export function quantizedInputs(weight: HostTensor, format: QuantFormat): { codes: HostTensor; scales: HostTensor } {
  const { codes, scales } = interleave(quantize(weight.data as Float32Array, format), format, weight.shape[1]!);
  return { codes: u32([codes.length], codes), scales: u32([scales.length], scales) };
}

/** What `quantizedInputs` made, on the GPU. */
export const quantizedTensor = (
  { codes, scales }: Readonly<Record<string, Tensor>>,
  format: QuantFormat,
  shape: readonly [number, number],
): QuantizedTensor => {
  const { blocks, units, words } = quantLayout(format, shape);
  return new QuantizedTensor(format, shape, codes!.reshape([blocks, units, 8, 4]), scales!.reshape([blocks, words, 8]));
};

export interface QuantizedCase extends QuantizedPlan {
  readonly format: QuantFormat;
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly bias?: boolean;
  readonly residual?: boolean;
  /** Gates and ups: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
  /** Activations stay f32 whatever the precision, as in the language model. */
  readonly wide?: boolean;
}

const CASES: readonly QuantizedCase[] = [
  { format: "int4", rows: 1, inputs: 896, outputs: 1152, bias: true, wide: true }, // decode, packed projection, Qwen2-0.5B
  { format: "int4", rows: 1, inputs: 3072, outputs: 512, residual: true, wide: true }, // decode, part of Phi-4-mini
  { format: "int4", rows: 17, inputs: 896, outputs: 512, wide: true }, // prefill
  { format: "int8", rows: 1, inputs: 896, outputs: 800, wide: true }, // part of the head
];

/** The fused gate: whole blocks, an odd number of them, and a last workgroup that is not full. */
const GATED: readonly QuantizedCase[] = QUANT_FORMATS.flatMap((format): QuantizedCase[] => [
  { variant: "row", format, rows: 3, inputs: 96, outputs: 80, swiglu: true },
  { variant: "lanes_row", format, rows: 1, inputs: 96, outputs: 80, swiglu: true, wide: true },
  { variant: "lanes", format, rows: 13, inputs: 96, outputs: 80, swiglu: true },
  { variant: "lanes_tall", format, rows: 45, inputs: 96, outputs: 208, swiglu: true },
]);

/** Other widths of workgroups: fewer threads than a row has parts, and more. */
const WIDTHS = (["row_32", "row_256"] as const).flatMap((variant): QuantizedCase[] => [
  { variant, format: "int4", rows: 5, inputs: 288, outputs: 75, bias: true, residual: true, wide: true },
  { variant, format: "int4", rows: 3, inputs: 288, outputs: 80, swiglu: true },
]);

const VARIANTS = ["tile", "row", "lanes", "lanes_tall", "lanes_row"] as const;

/** What each shader does with each format: odd numbers of groups, sizes that fill no tile, tensors that must be cut. */
const FORCED: readonly QuantizedCase[] = QUANT_FORMATS.flatMap((format) =>
  VARIANTS.flatMap((variant): QuantizedCase[] => {
    const wide = variant === "lanes_row"; // which takes no halves
    const rows = wide ? 1 : 13;
    return [
      { variant, format, rows, inputs: 96, outputs: 75, bias: true, residual: true, wide },
      { variant, format, rows, inputs: 32, outputs: 1, wide: true },
      { variant, format, rows: wide ? 1 : 70, inputs: 64, outputs: 100, bias: true, maxBytes: 4096, wide },
    ];
  }),
);

/** Cases of `linearQuantized`, whichever shader they run. */
export const quantizedSuite = (name: string, cases: readonly QuantizedCase[]): AnySuite =>
  defineSuite<QuantizedCase>({
    name,
    cases,
    inputs({ format, rows, inputs, outputs, wide, ...has }, random) {
      const free = (tensor: HostTensor) => (wide ? f32(tensor) : tensor);
      return {
        x: free(scaled(random([rows, inputs]), inputs ** -0.5)),
        ...quantizedInputs(random([outputs, inputs]), format),
        ...(has.bias && { bias: free(random([outputs])) }),
        ...(has.residual && { residual: free(random([rows, outputs])) }),
      };
    },
    run({ x, bias, residual, ...codes }, { format, inputs, outputs, variant, maxBytes, swiglu }) {
      const weight = quantizedTensor(codes, format, [outputs, inputs]);
      if (swiglu) return fusedSwiglu(x!, weight, undefined, variant)!;
      const plan = { ...(variant && { variant }), ...(maxBytes && { maxBytes }) };
      return linearQuantizedBy(plan, x!, weight, { bias, residual });
    },
    reference({ x, codes, scales, bias, residual }, { format, rows, inputs, outputs, swiglu }) {
      const y = linearRef(x!, weightsRef(codes!, scales!, format, outputs, inputs), outputs, { bias, residual });
      return swiglu ? swigluRef(y, rows, outputs / 2) : y;
    },
    tolerance: { f32: 1e-11, f16: 1e-6 },
    bytes: ({ format, rows, inputs, outputs }, element) =>
      (rows * inputs + rows * outputs) * element +
      inputs * outputs * { int4: 0.5625, "int4-affine": 0.625, int8: 1.0625 }[format],
    flops: ({ rows, inputs, outputs }) => 2 * rows * inputs * outputs,
    supports({ adapter }, { variant, rows, inputs, outputs }, dtype) {
      // Matrices round activations to halfs, also where the adapter chooses them.
      if (isMatrix(variant ?? quantizedCandidates({ rows, inputs, outputs }, adapter)[0]!)) {
        return dtype === "f16" && hasMatrices(adapter);
      }
      return !variant?.startsWith("lanes") || hasCpuLanes(adapter);
    },
  });

export default quantizedSuite("linear_quantized", [...CASES, ...FORCED, ...GATED, ...WIDTHS]);
