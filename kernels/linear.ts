import { rowClass } from "../src/gpu/choices.ts";
import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { type Matrix, QuantizedTensor } from "../src/tensor/quantized.ts";
import { withLast } from "../src/tensor/shape.ts";
import { BYTES, expectDType, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { ACTIVATIONS, type Activation } from "./activations.ts";
import { rowChunks } from "./chunks.ts";
import { cpuLanes, hasCpuLanes } from "./lanes.ts";
import { linearMatrix, type ManyMatrices, manyMatrices, takesHalves } from "./linear_matrix.ts";
import { fusedSwiglu, linearQuantized, type QuantizedOptions } from "./linear_quantized.ts";
import { isTeam, linearTeam, type TeamVariant, teamCandidates } from "./linear_team.ts";
import { type Norm, rmsNorm } from "./rms_norm.ts";
import { standIn } from "./stand_in.ts";
import { swiglu } from "./swiglu.ts";

const BUFFERS = { x: "read", weight: "read", bias: "read?", scale: "read?", residual: "read?", y: "update" } as const;
const PARAMS = { rows: "u32", inputs: "u32", outputs: "u32", first: "u32", stride: "u32" } as const;
const EPILOGUE = ["HAS_BIAS", "ACTIVATION", "HAS_SCALE", "HAS_RESIDUAL"] as const;

const tile = defineKernel({
  name: "linear_tile",
  source: new URL("../shaders/linear_tile.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: EPILOGUE,
});

const row = defineKernel({
  name: "linear_row",
  source: new URL("../shaders/linear_row.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WORKGROUP_SIZE", ...EPILOGUE],
});

const lanes = defineKernel({
  name: "linear_lanes",
  source: new URL("../shaders/linear_lanes.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WEIGHT_F16", "X_F16", ...EPILOGUE],
  constants: ["LANES"],
  features: ["subgroups"],
});

const lanesTall = defineKernel({
  name: "linear_lanes_tall",
  source: new URL("../shaders/linear_lanes_tall.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WEIGHT_F16", "X_F16", ...EPILOGUE, "SWIGLU"],
  constants: ["LANES"],
  features: ["subgroups"],
});

const lanesRow = defineKernel({
  name: "linear_lanes_row",
  source: new URL("../shaders/linear_lanes_row.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WEIGHT_F16", ...EPILOGUE],
  constants: ["LANES"],
  features: ["subgroups"],
});

const tileVec4 = defineKernel({
  name: "linear_tile_vec4",
  source: new URL("../shaders/linear_tile_vec4.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: EPILOGUE,
  constants: ["QUADS"],
});

/** Threads of a workgroup of the shader for few rows. */
const ROW_SIZES = { row: 64, row_32: 32, row_256: 256 } as const;

/** Fours of rows that a thread computes in the shader with vectors. */
const TILE_QUADS = { tile_vec4: 1, tile_tall: 2 } as const;

/** Outputs that the shaders for many rows store together. */
const QUAD = 4;
/** Rows that a lane computes in the taller shader for CPUs, which is faster as soon as half of them are there. */
const TALL_ROWS = 32;

export type LinearVariant =
  | "tile"
  | keyof typeof TILE_QUADS
  | ManyMatrices
  | keyof typeof ROW_SIZES
  | TeamVariant
  | "lanes"
  | "lanes_tall"
  | "lanes_row";

export interface LinearOptions extends QuantizedOptions {
  /** Applied to the sum. GELU is the exact one, by the error function. */
  readonly activation?: Activation | undefined;
  /** Layer scale γ [O], multiplied in after the activation. */
  readonly scale?: Tensor | undefined;
}

/** How `linearBy` computes; the defaults suit the adapter. */
export interface LinearPlan {
  readonly variant?: LinearVariant;
  /** Largest part of a tensor that one dispatch sees, in bytes. */
  readonly maxBytes?: number;
}

/** Which shaders may serve this many rows of this many inputs on this adapter, best guess first; `half` says that weights are f16. */
export function linearCandidates(
  { rows, inputs, outputs, half = false }: { rows: number; inputs: number; outputs: number; half?: boolean },
  adapter: AdapterSummary,
): readonly LinearVariant[] {
  const isQuads = inputs % 4 === 0;
  if (hasCpuLanes(adapter) && inputs % 8 === 0) {
    if (rows === 1) return ["lanes_row", "row"];
    if (rows < 8) return ["lanes", "row"];
    return rows > TALL_ROWS / 2 && outputs % QUAD === 0 ? ["lanes_tall", "lanes"] : ["lanes"];
  }
  const teams = teamCandidates({ rows, inputs, outputs }, adapter);
  if (teams.length > 0 && rows < 8) return [...teams, "row"];
  if (rows === 1 && isQuads) return ["row", "row_32", "row_256"];
  if (rows < 8 && isQuads) return ["row", "row_32", "row_256", "tile"];
  const few = rows <= 32 && isQuads ? (["row"] as const) : [];
  return [...(rows === 8 ? teams : []), ...manyRows(rows, inputs, outputs, half, adapter), ...few];
}

function manyRows(
  rows: number,
  inputs: number,
  outputs: number,
  half: boolean,
  adapter: AdapterSummary,
): readonly LinearVariant[] {
  // Adapters that are CPUs take long to compile what pays off on GPUs only.
  if (adapter.software || inputs % 4 !== 0 || outputs % QUAD !== 0) return ["tile"];
  const matrices = half ? manyMatrices({ rows, inputs, outputs }, adapter) : [];
  if (matrices.length > 0) return matrices;
  return rows > 32 ? ["tile_vec4", "tile_tall"] : ["tile_vec4", "tile"];
}

/**
 * `y = residual + scale · act(norm(x) · weightᵀ + bias)` over the last axis; sums in f32.
 *
 * Element types may differ from tensor to tensor, and each may be larger than one binding.
 *
 * @param x       [..., C]
 * @param weight  [O, C], the layout PyTorch stores, or quantised
 * @returns       [..., O]
 * @throws ShapeError when shapes do not fit
 */
export function linear(x: Tensor, weight: Tensor, options?: LinearOptions): Tensor;
export function linear(x: Tensor, weight: Matrix, options?: QuantizedOptions): Tensor;
export function linear(x: Tensor, weight: Matrix, options: LinearOptions = {}): Tensor {
  return weight instanceof QuantizedTensor ? linearQuantized(x, weight, options) : linearBy({}, x, weight, options);
}

/** `linear` with the choices it makes left to the caller, for tests and benchmarks. */
export function linearBy(plan: LinearPlan, input: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor {
  const { gpu } = input;
  const { norm, bias, scale, residual, dtype = input.dtype } = options;
  const { O, C } = weight.dims("O C");
  const rows = input.size / C;
  const shape = withLast(input.shape, O);
  expectShape("linear: x", input, withLast(input.shape, C));
  if (bias) expectShape("linear: bias", bias, [O]);
  if (scale) expectShape("linear: scale", scale, [O]);
  if (residual) expectShape("linear: residual", residual, shape);
  const { maxBytes = gpu.maxBindingBytes, variant = choose(input, rows, weight, options) } = plan;
  const inHalves = takesHalves(variant);
  if (inHalves) expectDType(`linear: weight of variant ${variant}`, weight, "f16");
  const x = norm && !isTeam(variant) ? normedFor(variant, input, weight, norm) : input;
  const y = gpu.empty(shape, dtype);
  const flat = { x: x.reshape([rows, C]), y: y.reshape([rows, O]), residual: residual?.reshape([rows, O]) };
  const run = (tensors: LinearTensors, first: number): void => {
    if (isTeam(variant)) linearTeam(variant, { ...tensors, norm: norm?.weight }, { first, eps: norm?.eps });
    else launch(variant, tensors, { first, activation: options.activation });
  };
  if (Math.max(x.bytes, weight.bytes, residual?.bytes ?? 0, y.bytes) <= maxBytes) {
    run({ ...flat, weight, bias, scale }, 0);
    return y;
  }
  const rowBytes = [flat.x, flat.y, flat.residual].flatMap((t) => (t ? [t.bytes / rows] : []));
  for (const [from, to] of rowChunks(rows, rowBytes, maxBytes)) {
    const part = { x: flat.x.rows(from, to), y: flat.y.rows(from, to), residual: flat.residual?.rows(from, to) };
    for (const [first, end] of rowChunks(O, [C * BYTES[weight.dtype]], maxBytes, QUAD)) {
      run({ ...part, weight: weight.rows(first, end), bias, scale }, first);
    }
  }
  return y;
}

/**
 * `swiglu(norm(x) · weightᵀ)`, in one run where a shader does it. See `swiglu`.
 *
 * @param x       [T, C]
 * @param weight  [2I, C], gates, then ups; or quantised
 * @returns       [T, I]
 */
export function linearSwiglu(x: Tensor, weight: Matrix, norm?: Norm): Tensor {
  const fused = weight instanceof QuantizedTensor ? fusedSwiglu(x, weight, norm) : denseSwiglu(x, weight, norm);
  return fused ?? swiglu(linear(x, weight, { norm }));
}

/** `linearSwiglu` of numbers in one run; undefined where the shape or the adapter has it in two. */
export function denseSwiglu(
  input: Tensor,
  weight: Tensor,
  norm?: Norm,
  variant?: TeamVariant | "lanes_tall",
): Tensor | undefined {
  const { gpu } = input;
  const { T, C } = input.dims("T C");
  const { O } = weight.dims("O inputs");
  expectShape("linear: weight", weight, [O, C]);
  const chosen = variant ?? choose(input, T, weight, { norm });
  if (!isTeam(chosen) && chosen !== "lanes_tall") return undefined;
  const largest = Math.max(weight.bytes, input.bytes, T * (O / 2) * BYTES[input.dtype]);
  if (O % (isTeam(chosen) ? 2 : 2 * QUAD) !== 0 || largest > gpu.maxBindingBytes) return undefined;
  const y = input.like([T, O / 2]);
  const tensors = { weight, bias: undefined, scale: undefined, residual: undefined, y };
  if (isTeam(chosen)) {
    linearTeam(chosen, { ...tensors, x: input, norm: norm?.weight }, { eps: norm?.eps, swiglu: true });
  } else {
    const x = norm ? normedFor(chosen, input, weight, norm) : input;
    launch(chosen, { ...tensors, x }, { swiglu: true });
  }
  return y;
}

/** Halves where they are what matrices multiply, or half as much for a CPU to load. */
function normedFor(variant: LinearVariant, x: Tensor, weight: Tensor, norm: Norm): Tensor {
  const inHalves = takesHalves(variant) || (variant === "lanes_tall" && weight.dtype === "f16");
  return rmsNorm(x, norm.weight, norm.eps, inHalves ? "f16" : undefined);
}

function choose(x: Tensor, rows: number, weight: Tensor, options: LinearOptions): LinearVariant {
  const { choices } = x.gpu;
  // Teams serve language models, which need neither.
  const isPlain = !options.activation && !options.scale;
  const kind = 4 * rows + (x.dtype === "f16" ? 2 : 0) + (isPlain ? 1 : 0);
  return choices.recall(weight, kind, () => {
    const { O, C } = weight.dims("O C");
    const group = `linear ${x.dtype} ${weight.dtype} rows ${rowClass(rows)}`;
    const all = linearCandidates({ rows, inputs: C, outputs: O, half: weight.dtype === "f16" }, x.gpu.adapter);
    const candidates = isPlain ? all : all.filter((variant) => !isTeam(variant));
    return choices.pick(group, `${C}x${O}`, candidates, (variant) => {
      const residual = options.residual && standIn(options.residual);
      linearBy({ variant }, standIn(x), weight, { ...options, residual });
    });
  });
}

interface LinearTensors {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly scale: Tensor | undefined;
  readonly residual: Tensor | undefined;
  readonly y: Tensor;
}

interface Launch {
  /** The output that the weight's first row belongs to. Default 0 */
  readonly first?: number;
  /** Default none */
  readonly activation?: Activation | undefined;
  /** Gates and ups, of `lanes_tall`: the result is `swiglu` of them. */
  readonly swiglu?: boolean;
}

function launch(
  variant: Exclude<LinearVariant, TeamVariant>,
  tensors: LinearTensors,
  { first = 0, activation = "none", swiglu = false }: Launch,
): void {
  const { rows, inputs } = tensors.x.dims("rows inputs");
  const { outputs } = tensors.weight.dims("outputs inputs");
  const { stride } = tensors.y.dims("rows stride");
  const params = { rows, inputs, outputs, first, stride };
  const epilogue = {
    HAS_BIAS: tensors.bias !== undefined,
    ACTIVATION: ACTIVATIONS[activation],
    HAS_SCALE: tensors.scale !== undefined,
    HAS_RESIDUAL: tensors.residual !== undefined,
  };
  const packed = { WEIGHT_F16: tensors.weight.dtype === "f16", ...epilogue };
  if (variant === "row" || variant === "row_32" || variant === "row_256") {
    const overrides = { WORKGROUP_SIZE: ROW_SIZES[variant], ...epilogue };
    row.run(tensors, params, { workgroups: rows * Math.ceil(outputs / 4), overrides });
  } else if (variant === "tile_vec4" || variant === "tile_tall") {
    const QUADS = TILE_QUADS[variant];
    const workgroups = Math.ceil(outputs / 64) * Math.ceil(rows / (64 * QUADS));
    tileVec4.run(tensors, params, { workgroups, overrides: epilogue, constants: { QUADS } });
  } else if (variant === "tile") {
    const workgroups = Math.ceil(outputs / 64) * Math.ceil(rows / 64);
    tile.run(tensors, params, { workgroups, overrides: epilogue });
  } else if (takesHalves(variant)) {
    linearMatrix(variant, tensors, { first, activation });
  } else {
    const LANES = cpuLanes(tensors.x.gpu.adapter);
    const across = Math.ceil(outputs / (4 * LANES));
    const constants = { LANES };
    const overrides = { X_F16: tensors.x.dtype === "f16", ...packed };
    if (variant === "lanes") {
      lanes.run(tensors, params, { workgroups: across * Math.ceil(rows / 8), overrides, constants });
    } else if (variant === "lanes_tall") {
      const workgroups = across * Math.ceil(rows / TALL_ROWS);
      lanesTall.run(tensors, params, { workgroups, overrides: { ...overrides, SWIGLU: swiglu }, constants });
    } else {
      lanesRow.run(tensors, params, { workgroups: Math.ceil(outputs / 32), overrides: packed, constants });
    }
  }
}
