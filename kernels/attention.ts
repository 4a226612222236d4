import { ShapeError } from "../src/errors.ts";
import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectDType, type Tensor } from "../src/tensor/tensor.ts";
import { cpuLanes, hasCpuLanes } from "./lanes.ts";
import { hasMatrices } from "./matrices.ts";

const BUFFERS = { qkv: "read", y: "write" } as const;
const PARAMS = { batch: "u32", tokens: "u32", heads: "u32", scale: "f32" } as const;

const rows = defineKernel({
  name: "attention",
  source: new URL("../shaders/attention.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WORKGROUP_SIZE"],
  constants: ["HEAD_DIM"],
});

const tile = defineKernel({
  name: "attention_tile",
  source: new URL("../shaders/attention_tile.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  constants: ["HEAD_DIM"],
});

const matrix = defineKernel({
  name: "attention_matrix",
  source: new URL("../shaders/attention_matrix.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  constants: ["HEAD_DIM"],
  features: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
});

const lanes = defineKernel({
  name: "attention_lanes",
  source: new URL("../shaders/attention_lanes.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["HALF"],
  constants: ["HEAD_DIM", "LANES"],
  features: ["subgroups"],
});

/** Threads of a workgroup: few, so that small maps still fill the adapter. */
const WORKGROUP_SIZE = 32;

/** Queries of a workgroup of the shader that shares keys between them. */
const TILE_ROWS = 32;
/** Keys that it takes at a time, and head sizes for which it has at least as many threads as queries. */
const TILE_KEYS = 32;
const TILE_HEADS: readonly number[] = [32, 64];

/** Workgroup memory of shaders that share keys: queries, `buffers` times keys or values, scores, and what is left of sums. */
export const tileBytes = (queries: number, headDim: number, keys: number, buffers: number): number =>
  16 * (queries + buffers * keys) * (headDim / 4 + 1) + 4 * keys * (queries + queries / 4) + 4 * queries;

/** Queries of a workgroup of the shader with matrices. */
const MATRIX_ROWS = 64;
/** Wider heads do not fit into its memory. */
const MAX_MATRIX_HEAD = 80;

export type AttentionVariant = "rows" | "tile" | "matrix" | "lanes";

/** Whether a workgroup has the memory that the tile takes. */
export const attentionTileFits = (headDim: number, { workgroupBytes }: AdapterSummary): boolean =>
  tileBytes(TILE_ROWS, headDim, TILE_KEYS, 2) <= workgroupBytes;

/** Which shader serves this head size on this adapter; `half` says that elements are f16. */
export function pickAttention(headDim: number, half: boolean, adapter: AdapterSummary): AttentionVariant {
  if (hasCpuLanes(adapter)) return "lanes";
  if (half && headDim % 8 === 0 && headDim <= MAX_MATRIX_HEAD && hasMatrices(adapter)) return "matrix";
  const fits = TILE_HEADS.includes(headDim) && attentionTileFits(headDim, adapter);
  return fits && !adapter.software ? "tile" : "rows";
}

/**
 * Full self-attention: every token sees every token. Sums in f32.
 *
 * @param qkv    [B, N, 3·C], queries of all heads, then keys, then values
 * @param heads  C must be heads · headDim, headDim a multiple of 4
 * @returns      [B, N, C], element type of `qkv`
 * @throws ShapeError when the width does not divide so
 */
export function selfAttention(qkv: Tensor, heads: number): Tensor {
  const variant = pickAttention(qkv.dims("B N W").W / 3 / heads, qkv.dtype === "f16", qkv.gpu.adapter);
  return selfAttentionBy(variant, qkv, heads);
}

/** `selfAttention` with the choice of the shader left to the caller, for tests and benchmarks. */
export function selfAttentionBy(variant: AttentionVariant, qkv: Tensor, heads: number): Tensor {
  const { B, N, W } = qkv.dims("B N W");
  const headDim = W / 3 / heads;
  if (!Number.isInteger(headDim) || headDim % 4 !== 0) {
    throw new ShapeError(`attention: expected rows of 3 · ${heads} heads · a multiple of 4, got ${W}`);
  }
  const y = qkv.like([B, N, W / 3]);
  const params = { batch: B, tokens: N, heads, scale: headDim ** -0.5 };
  const constants = { HEAD_DIM: headDim };
  if (variant === "lanes") {
    const LANES = cpuLanes(qkv.gpu.adapter);
    const overrides = { HALF: qkv.dtype === "f16" };
    const workgroups = B * heads * Math.ceil(N / LANES);
    lanes.run({ qkv, y }, params, { workgroups, overrides, constants: { ...constants, LANES } });
  } else if (variant === "matrix") {
    expectDType("attention: qkv of variant matrix", qkv, "f16");
    matrix.run({ qkv, y }, params, { workgroups: B * heads * Math.ceil(N / MATRIX_ROWS), constants });
  } else if (variant === "tile") {
    tile.run({ qkv, y }, params, { workgroups: B * heads * Math.ceil(N / TILE_ROWS), constants });
  } else {
    const workgroups = Math.ceil((B * N * heads) / WORKGROUP_SIZE);
    rows.run({ qkv, y }, params, { workgroups, overrides: { WORKGROUP_SIZE }, constants });
  }
  return y;
}
