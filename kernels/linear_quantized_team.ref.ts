import { QUANT_FORMATS, type QuantFormat } from "../src/tensor/quantized.ts";
import { defineSuite, f32, type HostTensor, scaled } from "./case.ts";
import { hasSubgroups } from "./lanes.ts";
import { linearRef } from "./linear.ref.ts";
import { quantizedInputs, quantizedTensor, weightsRef } from "./linear_quantized.ref.ts";
import { fusedSwiglu, linearQuantizedBy } from "./linear_quantized.ts";
import type { QuantizedTeamVariant } from "./linear_quantized_team.ts";
import { rmsNormRef } from "./rms_norm.ref.ts";
import { swigluRef } from "./swiglu.ref.ts";

const EPS = 1e-6;

interface Case {
  readonly variant: QuantizedTeamVariant;
  readonly format: QuantFormat;
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly norm?: boolean;
  readonly bias?: boolean;
  readonly residual?: boolean;
  /** Gates and ups: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
  /** Activations stay f32 whatever the precision, as in the language model. */
  readonly wide?: boolean;
  readonly maxBytes?: number;
}

/** Decoding with Qwen2-0.5B. */
const MODELS: readonly Case[] = [
  { variant: "team", format: "int4", rows: 1, inputs: 896, outputs: 1152, norm: true, bias: true, wide: true },
  { variant: "team", format: "int4", rows: 1, inputs: 896, outputs: 2432, norm: true, swiglu: true, wide: true },
  { variant: "team", format: "int4", rows: 1, inputs: 4864, outputs: 448, residual: true, wide: true },
  { variant: "team", format: "int8", rows: 1, inputs: 896, outputs: 2048, norm: true, wide: true }, // part of the head
  { variant: "team", format: "int4", rows: 4, inputs: 896, outputs: 896, residual: true, wide: true },
  { variant: "team_4", format: "int4", rows: 1, inputs: 896, outputs: 2432, norm: true, swiglu: true, wide: true },
  { variant: "team_4", format: "int8", rows: 1, inputs: 896, outputs: 2048, norm: true, wide: true },
];

/** Odd numbers of groups, sizes that fill no team or block, numbers of rows that fill none, and tensors that must be cut. */
const ODD: readonly Case[] = [
  ...QUANT_FORMATS.flatMap((format): Case[] => [
    { variant: "team", format, rows: 1, inputs: 288, outputs: 75, norm: true, bias: true, residual: true, wide: true },
    { variant: "team", format, rows: 3, inputs: 96, outputs: 80, norm: true, swiglu: true },
  ]),
  ...QUANT_FORMATS.flatMap((format): Case[] => [
    {
      variant: "team_4",
      format,
      rows: 2,
      inputs: 288,
      outputs: 75,
      norm: true,
      bias: true,
      residual: true,
      wide: true,
    },
    { variant: "team_2", format, rows: 7, inputs: 96, outputs: 100, residual: true },
    { variant: "team_4", format, rows: 1, inputs: 96, outputs: 48, norm: true, swiglu: true },
  ]),
  { variant: "team", format: "int4", rows: 1, inputs: 32, outputs: 1 },
  { variant: "team_4", format: "int4", rows: 1, inputs: 32, outputs: 1 },
  { variant: "team_wide", format: "int4-affine", rows: 2, inputs: 736, outputs: 48, swiglu: true, wide: true },
  { variant: "team", format: "int8", rows: 7, inputs: 64, outputs: 100, norm: true, bias: true, maxBytes: 4096 },
];

export default defineSuite<Case>({
  name: "linear_quantized_team",
  cases: [...MODELS, ...ODD],
  inputs({ format, rows, inputs, outputs, wide, ...has }, random) {
    const free = (tensor: HostTensor) => (wide ? f32(tensor) : tensor);
    const x = random([rows, inputs]);
    return {
      x: free(has.norm ? x : scaled(x, inputs ** -0.5)),
      ...quantizedInputs(scaled(random([outputs, inputs]), has.norm ? inputs ** -0.5 : 1), format),
      ...(has.norm && { norm: f32(random([inputs])) }),
      ...(has.bias && { bias: free(random([outputs])) }),
      ...(has.residual && { residual: free(random([rows, outputs])) }),
    };
  },
  run({ x, norm: gains, bias, residual, ...codes }, { format, inputs, outputs, variant, swiglu, maxBytes }) {
    const weight = quantizedTensor(codes, format, [outputs, inputs]);
    const norm = gains && { weight: gains, eps: EPS };
    if (swiglu) return fusedSwiglu(x!, weight, norm, variant)!;
    return linearQuantizedBy({ variant, ...(maxBytes && { maxBytes }) }, x!, weight, { norm, bias, residual });
  },
  reference({ x, norm, codes, scales, bias, residual }, { format, rows, inputs, outputs, swiglu }) {
    const weights = weightsRef(codes!, scales!, format, outputs, inputs);
    const y = linearRef(norm ? rmsNormRef(x!, norm, EPS) : x!, weights, outputs, { bias, residual });
    return swiglu ? swigluRef(y, rows, outputs / 2) : y;
  },
  tolerance: { f32: 1e-11, f16: 1e-6 },
  bytes: ({ format, rows, inputs, outputs }) =>
    rows * (inputs + outputs) * 4 + inputs * outputs * { int4: 0.5625, "int4-affine": 0.625, int8: 1.0625 }[format],
  flops: ({ rows, inputs, outputs }) => 2 * rows * inputs * outputs,
  supports: ({ adapter }) => hasSubgroups(adapter),
});
