import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { Originals, Recollection } from "../src/gpu/recollection.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { hasSubgroups } from "./lanes.ts";

const team = defineKernel({
  name: "linear_team",
  source: new URL("../shaders/linear_team.wgsl", import.meta.url),
  buffers: { x: "read", norm: "read?", weight: "read", bias: "read?", residual: "read?", y: "update" },
  params: { rows: "u32", inputs: "u32", outputs: "u32", first: "u32", stride: "u32", eps: "f32" },
  overrides: ["WORKGROUP_SIZE", "TEAM", "WEIGHT_F16", "HAS_NORM", "HAS_BIAS", "HAS_RESIDUAL", "SWIGLU"],
  constants: ["ROWS", "OUTPUTS", "UNROLL"],
  features: ["subgroups"],
});

type TeamKernelLaunch = Parameters<typeof team.run>[2];

/** Outputs of a team of threads. */
const OUTPUTS = { team: 1, team_2: 2, team_4: 4 } as const;
export type TeamVariant = keyof typeof OUTPUTS;
export const isTeam = (variant: string): variant is TeamVariant => variant in OUTPUTS;

/** Rows that are worth it. */
export const TEAM_ROWS = 8;
/** Rows that a team keeps in registers. */
const MAX_ROWS = 4;
const MIN_SIZE = 128;
/** Loads of weights that a thread has under way; software adapters gain nothing by it, and compile the longer for it. */
const LOADS = 8;
const SOFTWARE_LOADS = 4;
/** Vectors of 8 inputs that a thread takes in all, about: fewer where there would be too few threads to keep memory busy. */
const TURNS = 4;
const SHORT_TURNS = 2;
const FEW_OUTPUTS = 2 ** 12;
/** Of so many outputs a thread keeps fewer weights in registers: there are threads enough. */
const MANY_OUTPUTS = 2 ** 15;
const MANY_LOADS = 4;

interface Sizes {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** Which sizes of teams may serve this shape, best guess first: several outputs share what is loaded of x. */
export function teamCandidates({ rows, inputs, outputs }: Sizes, adapter: AdapterSummary): readonly TeamVariant[] {
  if (!hasSubgroups(adapter) || inputs % 8 !== 0 || rows > TEAM_ROWS) return [];
  if (rows > 2 || outputs >= MANY_OUTPUTS) return ["team_4", "team_2", "team"];
  return rows === 2 || outputs >= FEW_OUTPUTS ? ["team_2", "team", "team_4"] : ["team", "team_2", "team_4"];
}

const MAX_TEAM = 256;

/** Threads that share sums over so many vectors: a power of two, few turns for each. */
export const teamSize = (vectors: number, turns: number): number =>
  Math.min(MAX_TEAM, Math.max(32, 2 ** Math.ceil(Math.log2(vectors / turns))));

/** Rows of a team: a power of two. */
export const teamRows = (rows: number): number => Math.min(MAX_ROWS, 2 ** Math.ceil(Math.log2(rows)));

export interface TeamTensors {
  readonly x: Tensor;
  /** Weight of the norm of `x`, which is then what the weights multiply. */
  readonly norm: Tensor | undefined;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  readonly y: Tensor;
}

export interface TeamLaunch {
  /** The output that the weight's first row belongs to. Default 0 */
  readonly first?: number;
  readonly eps?: number | undefined;
  /** Gates and ups: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
}

/** One dispatch of `linear`; shapes have been checked. */
export function linearTeam(
  variant: TeamVariant,
  tensors: TeamTensors,
  { first = 0, eps = 0, swiglu = false }: TeamLaunch = {},
): void {
  const { x, weight, y } = tensors;
  const [rows = 0, inputs = 0] = x.shape;
  const steps = stepsOf(tensors, swiglu);
  const kind = (8 * rows + OUTPUTS[variant]) * ALL_STEPS + steps;
  const launch = launches.get(weight, kind, () => launchFor(variant, rows, weight, steps));
  team.run(tensors, { rows, inputs, outputs: weight.shape[0]!, first, stride: y.shape[1]!, eps }, launch);
}

/** Optional steps, as bits of a number. */
export const STEPS = { norm: 1, bias: 2, residual: 4, swiglu: 8 } as const;
export const ALL_STEPS = 16;

export const stepsOf = ({ norm, bias, residual }: Omit<TeamTensors, "weight">, swiglu: boolean): number =>
  (norm ? STEPS.norm : 0) | (bias ? STEPS.bias : 0) | (residual ? STEPS.residual : 0) | (swiglu ? STEPS.swiglu : 0);

const launches = new Recollection<TeamKernelLaunch>();
const originals = new Originals<Omit<TeamKernelLaunch, "workgroups">>();

function launchFor(variant: TeamVariant, rows: number, weight: Tensor, steps: number): TeamKernelLaunch {
  const [outputs = 0, inputs = 0] = weight.shape;
  const isSwiglu = (steps & STEPS.swiglu) !== 0;
  const perTeam = isSwiglu ? Math.max(2, OUTPUTS[variant]) : OUTPUTS[variant];
  const ROWS = teamRows(rows);
  const isShort = outputs < FEW_OUTPUTS && inputs / 8 <= SHORT_TURNS * MAX_TEAM;
  const turns = isShort ? SHORT_TURNS : TURNS;
  const TEAM = teamSize(inputs / 8, turns);
  const WORKGROUP_SIZE = Math.max(MIN_SIZE, TEAM);
  const wanted = weight.gpu.adapter.software ? SOFTWARE_LOADS : outputs < MANY_OUTPUTS ? LOADS : MANY_LOADS;
  const loads = wanted / (weight.dtype === "f16" ? 1 : 2) / (ROWS > 2 ? 2 : 1);
  const UNROLL = Math.max(1, Math.min(turns, Math.floor(loads / perTeam)));
  const overrides = {
    WORKGROUP_SIZE,
    TEAM,
    WEIGHT_F16: weight.dtype === "f16",
    HAS_NORM: (steps & STEPS.norm) !== 0,
    HAS_BIAS: (steps & STEPS.bias) !== 0,
    HAS_RESIDUAL: (steps & STEPS.residual) !== 0,
    SWIGLU: isSwiglu,
  };
  return {
    ...originals.of({ overrides, constants: { ROWS, OUTPUTS: perTeam, UNROLL } }),
    workgroups: Math.ceil(outputs / ((perTeam * WORKGROUP_SIZE) / TEAM)) * Math.ceil(rows / ROWS),
  };
}
