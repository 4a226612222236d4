import { rowClass } from "../src/gpu/choices.ts";
import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel, MAX_UNIFORM_BYTES } from "../src/gpu/kernel.ts";
import { type Activations, GROUP, type QuantizedTensor } from "../src/tensor/quantized.ts";
import { withLast } from "../src/tensor/shape.ts";
import { BYTES, type DType, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";
import { cpuLanes, hasCpuLanes } from "./lanes.ts";
import { linearQuantizedDot, quantizedDotCandidates } from "./linear_quantized_dot.ts";
import { linearQuantizedMatrix } from "./linear_quantized_matrix.ts";
import {
  isQuantizedTeam,
  linearQuantizedTeam,
  type QuantizedTeamVariant,
  quantizedTeamCandidates,
} from "./linear_quantized_team.ts";
import { isMatrix, type MatrixVariant, matrixCandidates } from "./matrices.ts";
import { FORMATS } from "./quant_formats.ts";
import { type Norm, rmsNorm } from "./rms_norm.ts";
import { standIn } from "./stand_in.ts";

const BUFFERS = {
  x: "read",
  codes: "read",
  scales: "read",
  bias: "read?",
  residual: "read?",
  y: "update",
} as const;
const PARAMS = { rows: "u32", inputs: "u32", outputs: "u32", first: "u32", stride: "u32", groups: "u32" } as const;
const OVERRIDES = ["FORMAT", "HAS_BIAS", "HAS_RESIDUAL"] as const;

const tile = defineKernel({
  name: "linear_quantized_tile",
  source: new URL("../shaders/linear_quantized_tile.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: OVERRIDES,
});

const row = defineKernel({
  name: "linear_quantized_row",
  source: new URL("../shaders/linear_quantized_row.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WORKGROUP_SIZE", ...OVERRIDES, "SWIGLU"],
});

const lanes = defineKernel({
  name: "linear_quantized_lanes",
  source: new URL("../shaders/linear_quantized_lanes.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: [...OVERRIDES, "TALL", "SWIGLU", "X_F16"],
  constants: ["LANES"],
  features: ["subgroups"],
});

const lanesRow = defineKernel({
  name: "linear_quantized_lanes_row",
  source: new URL("../shaders/linear_quantized_lanes_row.wgsl", import.meta.url),
  buffers: { ...BUFFERS, x: "uniform" },
  params: PARAMS,
  overrides: [...OVERRIDES, "SWIGLU"],
  constants: ["LANES", "VECTORS"],
  features: ["subgroups"],
});

/** Outputs in a block of codes. */
const BLOCK = 8;

/** Threads of a workgroup of the shader for few rows. */
const ROW_SIZES = { row: 64, row_32: 32, row_256: 256 } as const;

/** Rows that a lane computes in the shader for CPUs; the taller one is faster as soon as half of them are there. */
const LANES_ROWS = { lanes: 8, lanes_tall: 32 } as const;

export type QuantizedVariant =
  | "tile"
  | MatrixVariant
  | keyof typeof ROW_SIZES
  | QuantizedTeamVariant
  | "dot"
  | keyof typeof LANES_ROWS
  | "lanes_row";

export interface QuantizedOptions {
  /** Of `x`, before all else. */
  readonly norm?: Norm | undefined;
  /** [O] */
  readonly bias?: Tensor | undefined;
  /** [..., O], added last. */
  readonly residual?: Tensor | undefined;
  /** Element type of the result. Default: that of `x` */
  readonly dtype?: DType | undefined;
}

/** How `linearQuantizedBy` computes; the defaults suit the adapter. */
export interface QuantizedPlan {
  readonly variant?: QuantizedVariant;
  /** Largest part of a tensor that one dispatch sees, in bytes. */
  readonly maxBytes?: number;
}

/**
 * Which shaders may serve this shape on this adapter, best guess first.
 *
 * @param activations what inputs may become: int8 adds `dot` where there are no matrices, which are as fast and more exact.
 *                    Default "float"
 */
export function quantizedCandidates(
  sizes: { readonly rows: number; readonly inputs: number; readonly outputs: number },
  adapter: AdapterSummary,
  activations: Activations = "float",
): readonly QuantizedVariant[] {
  const { rows } = sizes;
  const matrices = matrixCandidates(sizes, adapter);
  if (matrices.length > 0) return matrices;
  const dot = quantizedDotCandidates(rows, adapter, activations);
  if (hasCpuLanes(adapter)) {
    if (rows === 1) return ["lanes_row", "row"];
    if (rows < 8) return ["lanes", "row"];
    return rows <= LANES_ROWS.lanes_tall / 2 ? ["lanes"] : ["lanes_tall", "lanes", ...dot];
  }
  const teams = quantizedTeamCandidates(sizes, adapter);
  if (teams.length > 0) return [...teams, rows < 8 ? "row" : "tile"];
  if (rows < 8) return ["row", "row_32", "row_256", ...(rows > 1 ? (["tile"] as const) : [])];
  return rows <= 32 ? ["tile", "row"] : [...dot, "tile"];
}

/**
 * `y = residual + norm(x) · weightᵀ + bias` over the last axis, the weights of a few bits; sums in f32. Weights become numbers in
 * registers, never in memory. Many rows may be rounded to 8 bits where the weight permits it; see `Activations`.
 *
 * @param x       [..., C]
 * @param weight  [O, C]
 * @returns       [..., O]
 * @throws ShapeError when shapes do not fit
 */
export function linearQuantized(x: Tensor, weight: QuantizedTensor, options: QuantizedOptions = {}): Tensor {
  return linearQuantizedBy({}, x, weight, options);
}

/** `linearQuantized` with the choices it makes left to the caller, for tests and benchmarks. */
export function linearQuantizedBy(
  plan: QuantizedPlan,
  input: Tensor,
  weight: QuantizedTensor,
  options: QuantizedOptions = {},
): Tensor {
  const { gpu } = input;
  const { norm, bias, residual, dtype = input.dtype } = options;
  const [O, C] = weight.shape;
  const rows = input.size / C;
  const shape = withLast(input.shape, O);
  expectShape("linear: x", input, withLast(input.shape, C));
  if (bias) expectShape("linear: bias", bias, [O]);
  if (residual) expectShape("linear: residual", residual, shape);
  const { maxBytes = gpu.maxBindingBytes, variant: wanted = choose(input, rows, weight, options) } = plan;
  const variant = served(wanted, input);
  const x = norm && !isQuantizedTeam(variant) ? normedFor(variant, input, norm) : input;
  const y = gpu.empty(shape, dtype);
  const flat = { x: x.reshape([rows, C]), y: y.reshape([rows, O]), residual: residual?.reshape([rows, O]) };
  const run = (tensors: Tensors, slice: QuantizedTensor, first: number): void => {
    if (variant === "dot") linearQuantizedDot(slice, tensors, first);
    else if (!isQuantizedTeam(variant)) launch(variant, tensors, slice, { first });
    else linearQuantizedTeam(variant, slice, { ...tensors, norm: norm?.weight }, { first, eps: norm?.eps });
  };
  const { codes, scales } = weight;
  if (Math.max(x.bytes, codes.bytes, scales.bytes, residual?.bytes ?? 0, y.bytes) <= maxBytes) {
    run({ ...flat, bias }, weight, 0);
    return y;
  }
  const rowBytes = [flat.x, flat.y, flat.residual].flatMap((t) => (t ? [t.bytes / rows] : []));
  const [blocks = 0] = codes.shape;
  const blockBytes = [codes.bytes / blocks, scales.bytes / blocks];
  for (const [from, to] of rowChunks(rows, rowBytes, maxBytes)) {
    const part = { x: flat.x.rows(from, to), y: flat.y.rows(from, to), residual: flat.residual?.rows(from, to) };
    for (const [first, end] of rowChunks(blocks, blockBytes, maxBytes)) {
      run({ ...part, bias }, weight.rows(first * BLOCK, Math.min(end * BLOCK, O)), first * BLOCK);
    }
  }
  return y;
}

/**
 * `swiglu(norm(x) · weightᵀ)` in one run: a gate and what it gates meet in registers. See `swiglu`.
 *
 * @param x       [T, C]
 * @param weight  [2I, C]: gates, then ups
 * @returns       [T, I]; undefined where no shader does it, which is so for many rows on GPUs and for odd sizes
 */
export function fusedSwiglu(
  input: Tensor,
  weight: QuantizedTensor,
  norm?: Norm,
  variant?: QuantizedVariant,
): Tensor | undefined {
  const { gpu } = input;
  const { T } = input.dims("T C");
  const [O, inputs] = weight.shape;
  expectShape("linear: x", input, [T, inputs]);
  const chosen = served(variant ?? choose(input, T, weight, { norm }), input);
  const isServed = isQuantizedTeam(chosen) || isGating(chosen);
  const largest = Math.max(weight.codes.bytes, weight.scales.bytes, input.bytes, T * (O / 2) * BYTES[input.dtype]);
  if (!isServed || largest > gpu.maxBindingBytes || O % (2 * BLOCK) !== 0) return undefined;
  const y = input.like([T, O / 2]);
  const tensors = { bias: undefined, residual: undefined, y };
  if (isQuantizedTeam(chosen)) {
    const team = { ...tensors, x: input, norm: norm?.weight };
    linearQuantizedTeam(chosen, weight, team, { eps: norm?.eps, swiglu: true });
  } else {
    const x = norm ? normedFor(chosen, input, norm) : input;
    launch(chosen, { ...tensors, x }, weight, { swiglu: true });
  }
  return y;
}

/** Whether a lane or a workgroup of a variant computes a gate and what it gates. */
const isGating = (
  variant: QuantizedVariant,
): variant is keyof typeof ROW_SIZES | keyof typeof LANES_ROWS | "lanes_row" =>
  variant in ROW_SIZES || variant.startsWith("lanes");

/** Halves where they are what matrices multiply, or half as much for a CPU to load. */
const normedFor = (variant: QuantizedVariant, x: Tensor, { weight, eps }: Norm): Tensor =>
  rmsNorm(x, weight, eps, isMatrix(variant) || (variant === "lanes_tall" && x.gpu.adapter.f16) ? "f16" : undefined);

/** A row that no uniform binding holds is computed as if there were several. */
const served = (variant: QuantizedVariant, x: Tensor): QuantizedVariant =>
  variant === "lanes_row" && (x.dtype !== "f32" || x.bytes > MAX_UNIFORM_BYTES) ? "lanes" : variant;

function choose(x: Tensor, rows: number, weight: QuantizedTensor, options: QuantizedOptions): QuantizedVariant {
  const { choices, adapter } = x.gpu;
  return choices.recall(weight, 2 * rows + (x.dtype === "f16" ? 1 : 0), () => {
    const [O, C] = weight.shape;
    const candidates = quantizedCandidates({ rows, inputs: C, outputs: O }, adapter, weight.activations);
    // Where bytes are among them this is another question, which no answer to the first may decide.
    const inputs = candidates.includes("dot") ? `${x.dtype}/int8` : x.dtype;
    const group = `linear_quantized ${inputs} ${weight.format} rows ${rowClass(rows)}`;
    return choices.pick(group, `${C}x${O}`, candidates, (variant) => {
      const residual = options.residual && standIn(options.residual);
      linearQuantizedBy({ variant }, standIn(x), weight, { ...options, residual });
    });
  });
}

interface Tensors {
  readonly x: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  readonly y: Tensor;
}

interface Launch {
  /** The output that the weight's first row belongs to. Default 0 */
  readonly first?: number;
  /** Gates and ups, of variants that are gating: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
}

function launch(
  variant: Exclude<QuantizedVariant, QuantizedTeamVariant | "dot">,
  tensors: Tensors,
  weight: QuantizedTensor,
  { first = 0, swiglu = false }: Launch,
): void {
  const { codes, scales, format } = weight;
  const [outputs, inputs] = weight.shape;
  const rows = tensors.x.shape[0]!;
  const params = {
    rows,
    inputs,
    outputs,
    first,
    stride: tensors.y.shape[1]!,
    groups: 2 * Math.ceil(inputs / GROUP / 2),
  };
  const overrides = {
    FORMAT: FORMATS[format],
    HAS_BIAS: tensors.bias !== undefined,
    HAS_RESIDUAL: tensors.residual !== undefined,
  };
  const gating = { ...overrides, SWIGLU: swiglu };
  const all = { ...tensors, codes, scales };
  if (variant === "row" || variant === "row_32" || variant === "row_256") {
    const workgroups = rows * Math.ceil(outputs / (swiglu ? 2 * BLOCK : BLOCK));
    row.run(all, params, { workgroups, overrides: { WORKGROUP_SIZE: ROW_SIZES[variant], ...gating } });
  } else if (isMatrix(variant)) {
    linearQuantizedMatrix(variant, tensors, weight, first);
  } else if (variant === "tile") {
    tile.run(all, params, { workgroups: Math.ceil(outputs / 64) * Math.ceil(rows / 64), overrides });
  } else {
    const LANES = cpuLanes(tensors.x.gpu.adapter);
    const across = Math.ceil(outputs / (4 * LANES));
    if (variant === "lanes_row") {
      const constants = { LANES, VECTORS: inputs / 4 };
      lanesRow.run(all, params, { workgroups: across, overrides: gating, constants });
    } else {
      const workgroups = across * Math.ceil(rows / LANES_ROWS[variant]);
      const more = { ...gating, TALL: variant === "lanes_tall", X_F16: tensors.x.dtype === "f16" };
      lanes.run(all, params, { workgroups, overrides: more, constants: { LANES } });
    }
  }
}
