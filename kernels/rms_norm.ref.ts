import { defineSuite, f32 } from "./case.ts";
import { hasCpuLanes, hasSubgroups } from "./lanes.ts";
import { type RmsNormVariant, rmsNormBy } from "./rms_norm.ts";

export function rmsNormRef(x: ArrayLike<number>, weight: ArrayLike<number>, eps: number): Float64Array {
  const C = weight.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += x[start + c]! ** 2;
    const scale = 1 / Math.sqrt(sum / C + eps);
    for (let c = 0; c < C; c++) y[start + c] = x[start + c]! * scale * weight[c]!;
  }
  return y;
}

const EPS = 1e-5;

interface Case {
  readonly rows: number;
  readonly dim: number;
  readonly variant: RmsNormVariant;
  /** The result is rounded to f16, though `x` is f32. */
  readonly half?: boolean;
}

const MODELS = [
  { rows: 1, dim: 5120 }, // decode, Phi-4
  { rows: 290, dim: 896 }, // prefill, Qwen2-0.5B
];

const ODD: readonly Case[] = [
  { variant: "group", rows: 3, dim: 7 }, // narrower than a workgroup
  { variant: "group", rows: 2, dim: 65 }, // one past a workgroup
  { variant: "group", rows: 65537, dim: 2 }, // more rows than workgroups fit on one axis
  { variant: "lanes", rows: 3, dim: 12 }, // fewer vectors than lanes
  { variant: "lanes", rows: 2, dim: 100 }, // lanes with different numbers of vectors
  { variant: "lanes", rows: 65537, dim: 4 },
  { variant: "subgroup", rows: 3, dim: 12 },
  { variant: "subgroup", rows: 2, dim: 1028 }, // one vector past a workgroup
  { variant: "subgroup", rows: 65537, dim: 4 },
  { variant: "subgroup", rows: 17, dim: 896, half: true },
  { variant: "lanes", rows: 17, dim: 896, half: true },
];

export default defineSuite<Case>({
  name: "rms_norm",
  cases: [
    ...(["group", "lanes", "subgroup"] as const).flatMap((variant) => MODELS.map((c): Case => ({ ...c, variant }))),
    ...ODD,
  ],
  inputs({ rows, dim, half }, random) {
    const x = random([rows, dim]);
    return { x: half ? f32(x) : x, weight: random([dim]) };
  },
  run: ({ x, weight }, { variant, half }) => rmsNormBy(variant, x!, weight!, EPS, half ? "f16" : undefined),
  reference: ({ x, weight }) => rmsNormRef(x!, weight!, EPS),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ rows, dim }, element) => 2 * rows * dim * element,
  supports({ adapter }, { variant, half }, dtype) {
    if (half && dtype === "f32") return false;
    if (variant === "subgroup") return hasSubgroups(adapter);
    return variant === "group" || hasCpuLanes(adapter);
  },
});
