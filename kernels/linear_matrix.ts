import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { ACTIVATIONS, type Activation } from "./activations.ts";
import { halfRows } from "./half_rows.ts";
import { isMatrix, MATRIX_SPLITS, type MatrixVariant, matrixCandidates, partsOf, tilesOf } from "./matrices.ts";
import { inParts } from "./sum_parts.ts";

const SPEC = {
  buffers: {
    x: "read",
    weight: "read",
    bias: "read?",
    scale: "read?",
    residual: "read?",
    y: "update",
    factor: "read?",
  },
  overrides: ["HAS_FACTOR", "HAS_BIAS", "ACTIVATION", "HAS_SCALE", "HAS_RESIDUAL"],
  features: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
} as const;
const PARAMS = { rows: "u32", inputs: "u32", outputs: "u32", first: "u32", stride: "u32" } as const;

const square = defineKernel({
  name: "linear_matrix",
  source: new URL("../shaders/linear_matrix.wgsl", import.meta.url),
  ...SPEC,
  params: { ...PARAMS, part: "u32" },
  constants: ["SPLIT"],
});

const wide = defineKernel({
  name: "linear_matrix_wide",
  source: new URL("../shaders/linear_matrix_wide.wgsl", import.meta.url),
  ...SPEC,
  params: PARAMS,
});

/** Rows and outputs of a wide tile of matrices, and how many such tiles fill a GPU. */
const WIDE_SIDE = 128;
const MANY_WIDE_TILES = 96;
/** Inputs in a vector, and vectors in a slice. */
const VECTOR = 8;
const SLICE = 4;

export type ManyMatrices = MatrixVariant | "matrix_wide";

/** Whether a variant multiplies matrices of halfs. */
export const takesHalves = (variant: string): variant is ManyMatrices => isMatrix(variant) || variant === "matrix_wide";

/** The variants for products of f16 weights, best guess first; none where the adapter or the shape has none. */
export function manyMatrices(
  sizes: { readonly rows: number; readonly inputs: number; readonly outputs: number },
  adapter: AdapterSummary,
): readonly ManyMatrices[] {
  const { rows, inputs, outputs } = sizes;
  const squares = inputs % VECTOR === 0 ? matrixCandidates(sizes, adapter) : [];
  if (squares.length === 0 || rows <= 32) return squares;
  return tilesOf(rows, outputs, WIDE_SIDE) >= MANY_WIDE_TILES
    ? ["matrix_wide", ...squares]
    : [...squares, "matrix_wide"];
}

interface Tensors {
  /** [R, C] */
  readonly x: Tensor;
  /** f16 [outputs, C] */
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly scale: Tensor | undefined;
  readonly residual: Tensor | undefined;
  /** [R, O] */
  readonly y: Tensor;
}

/** What `sumParts` does instead. */
const NO_EPILOGUE = { bias: undefined, scale: undefined, residual: undefined, factor: undefined };

/** One product of `linear`; shapes have been checked. `first` is the output that the weight's first row belongs to. */
export function linearMatrix(
  variant: ManyMatrices,
  tensors: Tensors,
  { first, activation }: { readonly first: number; readonly activation: Activation },
): void {
  const { rows, inputs } = tensors.x.dims("rows inputs");
  const { outputs } = tensors.weight.dims("outputs inputs");
  const { stride } = tensors.y.dims("rows stride");
  const { rows: halves, factor } = halfRows(tensors.x);
  const vectors = inputs / VECTOR;
  const workgroups = tilesOf(rows, outputs);
  if (variant === "matrix_parts") {
    const part = Math.ceil(vectors / partsOf({ rows, inputs, outputs }) / SLICE) * SLICE;
    const parts = Math.ceil(vectors / part);
    const { weight, y, bias, scale, residual } = tensors;
    inParts(y, { parts, outputs }, { factor, bias, activation, scale, residual, first }, (sums) => {
      square.run(
        { ...NO_EPILOGUE, x: halves, weight, y: sums },
        { rows, inputs, outputs, first: 0, stride: outputs, part },
        { workgroups: [workgroups, 1, parts], constants: { SPLIT: MATRIX_SPLITS[variant] } },
      );
    });
    return;
  }
  const all = { ...tensors, x: halves, factor };
  const params = { rows, inputs, outputs, first, stride };
  const overrides = {
    HAS_FACTOR: factor !== undefined,
    HAS_BIAS: tensors.bias !== undefined,
    ACTIVATION: ACTIVATIONS[activation],
    HAS_SCALE: tensors.scale !== undefined,
    HAS_RESIDUAL: tensors.residual !== undefined,
  };
  if (variant === "matrix_wide") {
    wide.run(all, params, { workgroups: tilesOf(rows, outputs, WIDE_SIDE), overrides });
  } else {
    const constants = { SPLIT: MATRIX_SPLITS[variant] };
    square.run(all, { ...params, part: vectors }, { workgroups, overrides, constants });
  }
}
