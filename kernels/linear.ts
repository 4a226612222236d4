import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { BYTES, type DType, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";

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
  overrides: EPILOGUE,
  features: ["subgroups"],
});

const lanesRow = defineKernel({
  name: "linear_lanes_row",
  source: new URL("../shaders/linear_lanes_row.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: EPILOGUE,
  features: ["subgroups"],
});

const VARIANTS = { tile, row, lanes, lanes_row: lanesRow };
const ACTIVATIONS = { none: 0, gelu: 1, relu: 2, sigmoid: 3 } as const;

export type LinearVariant = keyof typeof VARIANTS;

export interface LinearOptions {
  /** [O] */
  readonly bias?: Tensor | undefined;
  /** Applied to the sum. GELU is the exact one, by the error function. */
  readonly activation?: "gelu" | "relu" | "sigmoid" | undefined;
  /** Layer scale γ [O], multiplied in after the activation. */
  readonly scale?: Tensor | undefined;
  /** [..., O], added last. */
  readonly residual?: Tensor | undefined;
  /** Element type of the result. Default: that of `x` */
  readonly dtype?: DType | undefined;
  /** For tests and benchmarks. Default: `pickLinear` */
  readonly variant?: LinearVariant | undefined;
}

/** Which shader serves this many rows of this many inputs on this adapter. */
export function pickLinear(rows: number, inputs: number, adapter: AdapterSummary): LinearVariant {
  if (runsOnLanes(adapter) && inputs % 8 === 0) return rows === 1 ? "lanes_row" : "lanes";
  return rows < 8 ? "row" : "tile";
}

/** True where subgroups have exactly eight lanes: a CPU with 256-bit vectors. */
export const runsOnLanes = ({ subgroups, subgroupMinSize, subgroupMaxSize }: AdapterSummary): boolean =>
  subgroups && subgroupMinSize === 8 && subgroupMaxSize === 8;

/**
 * `y = residual + scale · act(x · weightᵀ + bias)` over the last axis; sums in f32.
 *
 * @param x       [..., C]
 * @param weight  [O, C], the layout PyTorch stores; may be larger than one binding
 * @returns       [..., O]
 * @throws ShapeError when shapes do not fit
 */
export function linear(x: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor {
  const { gpu } = x;
  const inputs = x.shape.at(-1) ?? 1;
  const { O } = weight.dims("O C");
  const rows = x.size / inputs;
  const shape = [...x.shape.slice(0, -1), O];
  expectShape("linear: weight", weight, [O, inputs]);
  if (options.bias) expectShape("linear: bias", options.bias, [O]);
  if (options.scale) expectShape("linear: scale", options.scale, [O]);
  if (options.residual) expectShape("linear: residual", options.residual, shape);
  const y = gpu.empty(shape, options.dtype ?? x.dtype);
  const flat = { x: x.reshape([rows, inputs]), y: y.reshape([rows, O]), residual: options.residual?.reshape([rows, O]) };
  const rowBytes = [inputs * BYTES[x.dtype], O * BYTES[y.dtype], ...(flat.residual ? [O * BYTES[flat.residual.dtype]] : [])];
  for (const [from, to] of rowChunks(rows, rowBytes, gpu.maxBindingBytes)) {
    const part = { x: flat.x.rows(from, to), y: flat.y.rows(from, to), residual: flat.residual?.rows(from, to) };
    for (const [first, end] of rowChunks(O, [inputs * BYTES[weight.dtype]], gpu.maxBindingBytes)) {
      launch(part, weight.rows(first, end), first, O, options);
    }
  }
  return y;
}

function launch(
  { x, y, residual }: { x: Tensor; y: Tensor; residual: Tensor | undefined },
  weight: Tensor,
  first: number,
  stride: number,
  { bias, scale, activation = undefined, variant }: LinearOptions,
): void {
  const { rows, inputs } = x.dims("rows inputs");
  const [outputs = 0] = weight.shape;
  const chosen = variant ?? pickLinear(rows, inputs, x.gpu.adapter);
  const workgroups = {
    tile: [Math.ceil(outputs / 64), Math.ceil(rows / 64)] as const,
    row: rows * outputs,
    lanes: [Math.ceil(outputs / 32), Math.ceil(rows / 8)] as const,
    lanes_row: Math.ceil(outputs / 32),
  }[chosen];
  const overrides = {
    HAS_BIAS: bias !== undefined,
    ACTIVATION: ACTIVATIONS[activation ?? "none"],
    HAS_SCALE: scale !== undefined,
    HAS_RESIDUAL: residual !== undefined,
  };
  VARIANTS[chosen].run({ x, weight, bias, scale, residual, y }, { rows, inputs, outputs, first, stride }, { workgroups, overrides });
}
