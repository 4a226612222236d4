import type { Activation } from "./activations.ts";
import { type AnySuite, defineSuite, f32, type HostTensor, scaled } from "./case.ts";
import { exactActivations } from "./erf.ts";
import { hasCpuLanes } from "./lanes.ts";
import { denseSwiglu, type LinearOptions, type LinearPlan, linearBy } from "./linear.ts";
import { hasMatrices } from "./matrices.ts";
import { swigluRef } from "./swiglu.ref.ts";

interface LinearRefOptions {
  readonly bias?: ArrayLike<number> | undefined;
  readonly activation?: Activation | undefined;
  readonly scale?: ArrayLike<number> | undefined;
  readonly residual?: ArrayLike<number> | undefined;
}

export function linearRef(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  outputs: number,
  { bias, activation = "none", scale, residual }: LinearRefOptions = {},
): Float64Array {
  const inputs = weight.length / outputs;
  const rows = x.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias?.[o] ?? 0;
      for (let c = 0; c < inputs; c++) sum += x[r * inputs + c]! * weight[o * inputs + c]!;
      const at = r * outputs + o;
      y[at] = (residual?.[at] ?? 0) + (scale?.[o] ?? 1) * exactActivations[activation](sum);
    }
  }
  return y;
}

export interface LinearCase extends LinearPlan {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly bias?: boolean;
  readonly activation?: LinearOptions["activation"];
  readonly scale?: boolean;
  readonly residual?: boolean;
  /** Gates and ups, of `lanes_tall`: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
  /** Activations stay f32 whatever the weights are, as in the language model. */
  readonly wide?: boolean;
  readonly dtype?: "f32";
  /** Multiplies the activations. */
  readonly gain?: number;
}

/** Every part of the epilogue. */
export const ALL = { bias: true, activation: "gelu", scale: true, residual: true } as const;

const CASES: readonly LinearCase[] = [
  { rows: 17, inputs: 896, outputs: 4864, wide: true }, // gate, Qwen2-0.5B
  { rows: 1, inputs: 3072, outputs: 1024, wide: true }, // decode, Phi-4-mini, part of an MLP
  { rows: 1, inputs: 896, outputs: 1152, bias: true, wide: true }, // decode, packed projection
  { rows: 64, inputs: 384, outputs: 1536, bias: true, activation: "gelu" }, // vision tower, first half of an MLP
  { rows: 64, inputs: 1536, outputs: 384, bias: true, scale: true, residual: true }, // and its second half
  { rows: 2, inputs: 192, outputs: 72, bias: true, activation: "sigmoid" },
  { rows: 9, inputs: 64, outputs: 40, activation: "relu" },
  { rows: 3, inputs: 96, outputs: 50, dtype: "f32" }, // logits of an f16 model
  { rows: 1, inputs: 1, outputs: 1 },
];

const VARIANTS = ["tile", "tile_vec4", "tile_tall", "row", "lanes", "lanes_tall", "lanes_row"] as const;

/** What each shader does at sizes that fill no tile, with every part of the epilogue and tensors that must be cut. */
const FORCED: readonly LinearCase[] = VARIANTS.flatMap((variant): LinearCase[] => {
  const rows = variant === "lanes_row" ? 1 : 13;
  const inputs = { tile: 37, row: 36, tile_vec4: 36, tile_tall: 44 }[variant as string] ?? 40;
  const [outputs, fewest] = /tall|vec4/.test(variant) ? [196, 4] : [193, 1];
  return [
    { variant, rows, inputs, outputs, ...ALL },
    { variant, rows, inputs, outputs, ...ALL, wide: true },
    { variant, rows, inputs, outputs: fewest },
    { variant, rows: variant === "lanes_row" ? 1 : 300, inputs: 64, outputs: 196, ...ALL, maxBytes: 1 << 14 },
  ];
});

/** Other widths of workgroups: fewer threads than vectors in a row, and more. */
const WIDTHS = (["row_32", "row_256"] as const).map(
  (variant): LinearCase => ({
    variant,
    rows: 5,
    inputs: 260,
    outputs: 37,
    ...ALL,
    wide: true,
  }),
);

/** The fused gate: sizes that fill no tile, and part of a model's. */
const GATED: readonly LinearCase[] = [
  { variant: "lanes_tall", rows: 13, inputs: 40, outputs: 200, swiglu: true },
  { variant: "lanes_tall", rows: 45, inputs: 40, outputs: 8, swiglu: true, wide: true },
  { variant: "lanes_tall", rows: 70, inputs: 896, outputs: 1216, swiglu: true, wide: true },
];

/** Cases of `linear`, whichever shader they run. */
export const linearSuite = (name: string, cases: readonly LinearCase[]): AnySuite =>
  defineSuite<LinearCase>({
    name,
    cases,
    inputs({ rows, inputs, outputs, wide, gain = 1, ...has }, random) {
      const free = (tensor: HostTensor) => (wide ? f32(tensor) : tensor);
      return {
        x: free(scaled(random([rows, inputs]), gain * inputs ** -0.5)),
        weight: random([outputs, inputs]),
        ...(has.bias && { bias: free(random([outputs])) }),
        ...(has.scale && { scale: free(random([outputs])) }),
        ...(has.residual && { residual: free(random([rows, outputs])) }),
      };
    },
    run({ x, weight, bias, scale, residual }, { activation, dtype, variant, maxBytes, swiglu }) {
      if (swiglu) return denseSwiglu(x!, weight!, undefined, "lanes_tall")!;
      const plan = { ...(variant && { variant }), ...(maxBytes && { maxBytes }) };
      return linearBy(plan, x!, weight!, { bias, scale, residual, activation, dtype });
    },
    reference({ x, weight, bias, scale, residual }, { rows, outputs, activation, swiglu }) {
      const y = linearRef(x!, weight!, outputs, { bias, scale, residual, activation });
      return swiglu ? swigluRef(y, rows, outputs / 2) : y;
    },
    tolerance: { f32: 1e-11, f16: 1e-6 },
    bytes: ({ rows, inputs, outputs }, element) => (rows * inputs + inputs * outputs + rows * outputs) * element,
    flops: ({ rows, inputs, outputs }) => 2 * rows * inputs * outputs,
    supports: ({ adapter }, { variant = "" }, dtype) =>
      variant.startsWith("matrix")
        ? dtype === "f16" && hasMatrices(adapter)
        : !variant.startsWith("lanes") || hasCpuLanes(adapter),
  });

export default linearSuite("linear", [...CASES, ...FORCED, ...WIDTHS, ...GATED]);
