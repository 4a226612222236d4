import { defineSuite, f32, type HostTensor, scaled } from "./case.ts";
import { hasSubgroups } from "./lanes.ts";
import { linearRef } from "./linear.ref.ts";
import { denseSwiglu, linearBy } from "./linear.ts";
import type { TeamVariant } from "./linear_team.ts";
import { rmsNormRef } from "./rms_norm.ref.ts";
import { swigluRef } from "./swiglu.ref.ts";

const EPS = 1e-6;

interface Case {
  readonly variant: TeamVariant;
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly norm?: boolean;
  readonly bias?: boolean;
  readonly residual?: boolean;
  /** Gates and ups: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
  /** Activations stay f32 whatever the weights are, as in the language model. */
  readonly wide?: boolean;
  readonly maxBytes?: number;
}

/** Decoding with Qwen2-0.5B, and parts of Phi-4-mini. */
const MODELS: readonly Case[] = [
  { variant: "team", rows: 1, inputs: 896, outputs: 1152, norm: true, bias: true, wide: true }, // packed projection
  { variant: "team", rows: 1, inputs: 896, outputs: 896, residual: true, wide: true }, // output of attention
  { variant: "team_2", rows: 1, inputs: 896, outputs: 2432, norm: true, swiglu: true, wide: true }, // part of gate and up
  { variant: "team", rows: 1, inputs: 4864, outputs: 448, residual: true, wide: true }, // part of down
  { variant: "team_4", rows: 1, inputs: 896, outputs: 2048, norm: true, wide: true }, // part of the head
  { variant: "team_4", rows: 4, inputs: 896, outputs: 1152, norm: true, wide: true }, // four answers together
  { variant: "team_2", rows: 1, inputs: 3072, outputs: 512, norm: true, wide: true },
  { variant: "team", rows: 1, inputs: 8192, outputs: 128, residual: true, wide: true },
];

/** Sizes that fill no team, numbers of rows that fill none, and tensors that must be cut. */
const ODD: readonly Case[] = [
  ...(["team", "team_2", "team_4"] as const).flatMap((variant): Case[] => [
    { variant, rows: 1, inputs: 264, outputs: 37, norm: true, bias: true, residual: true },
    { variant, rows: 3, inputs: 40, outputs: 10, norm: true, swiglu: true },
  ]),
  { variant: "team", rows: 1, inputs: 8, outputs: 1 },
  { variant: "team_2", rows: 2, inputs: 1032, outputs: 193, norm: true, bias: true, residual: true, wide: true },
  { variant: "team_2", rows: 7, inputs: 520, outputs: 74, norm: true, swiglu: true, wide: true },
  { variant: "team_4", rows: 8, inputs: 64, outputs: 196, norm: true, bias: true, residual: true, maxBytes: 1 << 14 },
];

export default defineSuite<Case>({
  name: "linear_team",
  cases: [...MODELS, ...ODD],
  inputs({ rows, inputs, outputs, wide, ...has }, random) {
    const free = (tensor: HostTensor) => (wide ? f32(tensor) : tensor);
    const x = random([rows, inputs]);
    return {
      x: free(has.norm ? x : scaled(x, inputs ** -0.5)),
      weight: scaled(random([outputs, inputs]), has.norm ? inputs ** -0.5 : 1),
      ...(has.norm && { norm: f32(random([inputs])) }),
      ...(has.bias && { bias: free(random([outputs])) }),
      ...(has.residual && { residual: free(random([rows, outputs])) }),
    };
  },
  run({ x, weight, norm: gains, bias, residual }, { variant, swiglu, maxBytes }) {
    const norm = gains && { weight: gains, eps: EPS };
    if (swiglu) return denseSwiglu(x!, weight!, norm, variant)!;
    return linearBy({ variant, ...(maxBytes && { maxBytes }) }, x!, weight!, { norm, bias, residual });
  },
  reference({ x, weight, norm, bias, residual }, { rows, outputs, swiglu }) {
    const y = linearRef(norm ? rmsNormRef(x!, norm, EPS) : x!, weight!, outputs, { bias, residual });
    return swiglu ? swigluRef(y, rows, outputs / 2) : y;
  },
  tolerance: { f32: 1e-11, f16: 1e-6 },
  bytes: ({ rows, inputs, outputs }, element) => inputs * outputs * element + rows * (inputs + outputs) * 4,
  flops: ({ rows, inputs, outputs }) => 2 * rows * inputs * outputs,
  supports: ({ adapter }) => hasSubgroups(adapter),
});
