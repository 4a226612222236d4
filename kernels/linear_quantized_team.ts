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
  overrides: ["WORKGROUP_SIZE", "TEAM", "FORMAT", "HAS_NORM", "HAS_BIAS", "HAS_RESIDUAL"],
  constants: ["ROWS", "BLOCKS", "UNROLL"],
  features: ["subgroups"],
});

type TeamKernelLaunch = Parameters<typeof team.run>[2];

/** Groups of inputs that a thread takes in all, about. */
const TURNS = { team: 4, team_wide: 2 } as const;
export type QuantizedTeamVariant = keyof typeof TURNS;
export const isQuantizedTeam = (variant: string): variant is QuantizedTeamVariant => variant in TURNS;

/** Outputs in a block of codes. */
const BLOCK = 8;
const MIN_SIZE = 128;
/** Loads of codes that a thread has under way; software adapters gain nothing by it, and compile the longer for it. */
const LOADS = 4;
const SOFTWARE_LOADS = 2;

/** Which sizes of teams may serve this many rows, best guess first. */
export const quantizedTeamCandidates = (rows: number, adapter: AdapterSummary): readonly QuantizedTeamVariant[] =>
  hasSubgroups(adapter) && rows <= TEAM_ROWS ? ["team", "team_wide"] : [];

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
  const kind = (8 * rows + TURNS[variant]) * ALL_STEPS + steps;
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
  const BLOCKS = steps & STEPS.swiglu ? 2 : 1;
  const ROWS = teamRows(rows);
  const TEAM = teamSize((BLOCK * inputs) / GROUP, TURNS[variant]);
  const WORKGROUP_SIZE = Math.max(MIN_SIZE, TEAM);
  const loads = gpu.adapter.software ? SOFTWARE_LOADS : LOADS;
  const UNROLL = Math.max(1, Math.floor(loads / BLOCKS / (format === "int8" ? 2 : 1) / (ROWS > 2 ? 2 : 1)));
  const blocks = Math.ceil(outputs / BLOCK) / BLOCKS;
  const overrides = {
    WORKGROUP_SIZE,
    TEAM,
    FORMAT: FORMATS[format],
    HAS_NORM: (steps & STEPS.norm) !== 0,
    HAS_BIAS: (steps & STEPS.bias) !== 0,
    HAS_RESIDUAL: (steps & STEPS.residual) !== 0,
  };
  return {
    ...originals.of({ overrides, constants: { ROWS, BLOCKS, UNROLL } }),
    workgroups: Math.ceil(blocks / (WORKGROUP_SIZE / TEAM)) * Math.ceil(rows / ROWS),
  };
}
