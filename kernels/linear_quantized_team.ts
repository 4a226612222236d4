import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { Originals, Recollection } from "../src/gpu/recollection.ts";
import { GROUP, type QuantizedTensor } from "../src/tensor/quantized.ts";
import { hasSubgroups } from "./lanes.ts";
import {
  ALL_STEPS,
  STEPS,
  stepsOf,
  TEAM_ROWS,
  type TeamLaunch,
  type TeamTensors,
  teamRows,
  teamSize,
} from "./linear_team.ts";
import { FORMATS } from "./quant_formats.ts";

const team = defineKernel({
  name: "linear_quantized_team",
  source: new URL("../shaders/linear_quantized_team.wgsl", import.meta.url),
  buffers: {
    x: "read",
    norm: "read?",
    codes: "read",
    scales: "read",
    bias: "read?",
    residual: "read?",
    y: "update",
  },
  params: { rows: "u32", inputs: "u32", outputs: "u32", first: "u32", stride: "u32", groups: "u32", eps: "f32" },
  overrides: ["WORKGROUP_SIZE", "TEAM", "FORMAT", "HAS_NORM", "HAS_BIAS", "HAS_RESIDUAL", "SWIGLU"],
  constants: ["ROWS", "BLOCKS", "UNROLL"],
  features: ["subgroups"],
});

type TeamKernelLaunch = Parameters<typeof team.run>[2];

/** Groups of inputs that a thread takes in all, about, and blocks of outputs that it computes of each. */
const VARIANTS = {
  team: { turns: 4, blocks: 1 },
  team_wide: { turns: 2, blocks: 1 },
  team_2: { turns: 4, blocks: 2 },
  team_4: { turns: 4, blocks: 4 },
} as const;
export type QuantizedTeamVariant = keyof typeof VARIANTS;
export const isQuantizedTeam = (variant: string): variant is QuantizedTeamVariant => variant in VARIANTS;

/** Outputs in a block of codes. */
const BLOCK = 8;
const MIN_SIZE = 128;
/** Results of an output place that a thread adds up, at most: rows times blocks. */
const MAX_RESULTS = 8;
/** Loads of codes that a thread has under way; software adapters gain nothing by it, and compile the longer for it. */
const LOADS = 4;
const SOFTWARE_LOADS = 2;
/** Of so many outputs, threads with several blocks are still enough to keep memory busy. */
const MANY_OUTPUTS = 2 ** 14;

interface Sizes {
  readonly rows: number;
  readonly outputs: number;
}

/**
 * Which sizes of teams may serve this shape, best guess first. Inputs are four to eight times as long as their codes: blocks that
 * share them keep memory closer to what limits the rest.
 */
export function quantizedTeamCandidates(
  { rows, outputs }: Sizes,
  adapter: AdapterSummary,
): readonly QuantizedTeamVariant[] {
  if (!hasSubgroups(adapter) || rows > TEAM_ROWS) return [];
  if (outputs < MANY_OUTPUTS) return ["team", "team_wide", "team_2"];
  return rows > 2 ? ["team_2", "team"] : ["team_4", "team_2", "team"]; // four blocks are too many for more rows
}

/** One dispatch of `linearQuantized`; shapes have been checked. */
export function linearQuantizedTeam(
  variant: QuantizedTeamVariant,
  weight: QuantizedTensor,
  tensors: Omit<TeamTensors, "weight">,
  { first = 0, eps = 0, swiglu = false }: TeamLaunch = {},
): void {
  const { x, norm, bias, residual, y } = tensors;
  const { codes, scales } = weight;
  const [outputs, inputs] = weight.shape;
  const rows = x.shape[0]!;
  const steps = stepsOf(tensors, swiglu);
  const { turns, blocks } = VARIANTS[variant];
  const kind = (64 * rows + 8 * turns + blocks) * ALL_STEPS + steps;
  const launch = launches.get(weight, kind, () => launchFor(variant, rows, weight, steps));
  const groups = 2 * Math.ceil(inputs / GROUP / 2);
  team.run(
    { x, norm, codes, scales, bias, residual, y },
    { rows, inputs, outputs, first, stride: y.shape[1]!, groups, eps },
    launch,
  );
}

const launches = new Recollection<TeamKernelLaunch>();
const originals = new Originals<Omit<TeamKernelLaunch, "workgroups">>();

function launchFor(
  variant: QuantizedTeamVariant,
  rows: number,
  { gpu, format, shape: [outputs, inputs] }: QuantizedTensor,
  steps: number,
): TeamKernelLaunch {
  const { turns, blocks } = VARIANTS[variant];
  const step = steps & STEPS.swiglu ? 2 : 1;
  const ROWS = teamRows(rows);
  const BLOCKS = Math.max(step, Math.min(blocks, MAX_RESULTS / ROWS));
  const TEAM = Math.max(teamSize((BLOCK * inputs) / GROUP, turns), (BLOCK * ROWS * BLOCKS) / step);
  const WORKGROUP_SIZE = Math.max(MIN_SIZE, TEAM);
  const loads = gpu.adapter.software ? SOFTWARE_LOADS : LOADS;
  const UNROLL = Math.max(1, Math.floor(loads / BLOCKS / (format === "int8" ? 2 : 1) / (ROWS > 2 ? 2 : 1)));
  const teams = Math.ceil(Math.ceil(outputs / BLOCK) / BLOCKS);
  const overrides = {
    WORKGROUP_SIZE,
    TEAM,
    FORMAT: FORMATS[format],
    HAS_NORM: (steps & STEPS.norm) !== 0,
    HAS_BIAS: (steps & STEPS.bias) !== 0,
    HAS_RESIDUAL: (steps & STEPS.residual) !== 0,
    SWIGLU: step === 2,
  };
  return {
    ...originals.of({ overrides, constants: { ROWS, BLOCKS, UNROLL } }),
    workgroups: Math.ceil(teams / (WORKGROUP_SIZE / TEAM)) * Math.ceil(rows / ROWS),
  };
}
