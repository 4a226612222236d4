import { ShapeError } from "../src/errors.ts";
import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { tileBytes } from "./attention.ts";
import { cpuLanes, hasCpuLanes } from "./lanes.ts";
import type { CacheLayout } from "./rope_kv.ts";

const BUFFERS = { q: "read", keys: "read", values: "read", y: "update" } as const;
const PARAMS = {
  tokens: "u32",
  heads: "u32",
  kv_heads: "u32",
  stride: "u32",
  start: "u32",
  scale: "f32",
  row: "u32",
} as const;

const rows = defineKernel({
  name: "causal_attention",
  source: new URL("../shaders/causal_attention.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["WORKGROUP_SIZE"],
  constants: ["HEAD_DIM"],
});

const decode = defineKernel({
  name: "causal_attention_decode",
  source: new URL("../shaders/causal_attention_decode.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: { heads: "u32", kv_heads: "u32", start: "u32", scale: "f32", stride: "u32", row: "u32" },
  overrides: ["WORKGROUP_SIZE"],
  constants: ["HEAD_DIM"],
});

const tile = defineKernel({
  name: "causal_attention_tile",
  source: new URL("../shaders/causal_attention_tile.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  constants: ["HEAD_DIM", "KEYS"],
});

const lanes = defineKernel({
  name: "causal_attention_lanes",
  source: new URL("../shaders/causal_attention_lanes.wgsl", import.meta.url),
  buffers: BUFFERS,
  params: PARAMS,
  overrides: ["KV_F16"],
  constants: ["HEAD_DIM", "LANES", "QUERIES"],
  features: ["subgroups"],
});

/** Threads of a workgroup while decoding, which is also how many keys it takes at a time. */
const DECODE_SIZE = 64;
/** Threads of a workgroup in prefill: few, so that short prompts still fill the adapter. */
const ROWS_SIZE = 32;

/** Queries of a workgroup of the shader that shares keys between them, and fewer tokens for which it is not worth it. */
const TILE_ROWS = 32;
const MIN_TILE_TOKENS = 8;
/** Keys that it takes at a time, by head size: as many as fit into the memory that adapters have. */
const TILE_KEYS: Readonly<Record<number, number>> = { 32: 32, 64: 32, 128: 16 };

export type CausalAttentionVariant = "rows" | "tile" | "decode" | "lanes";

/** Which shader serves this many tokens and this head size on this adapter. */
export function pickCausalAttention(
  { tokens, headDim }: { tokens: number; headDim: number },
  adapter: AdapterSummary,
): CausalAttentionVariant {
  if (hasCpuLanes(adapter) && headDim % 8 === 0) return "lanes";
  if (tokens === 1 && headDim / 4 <= DECODE_SIZE) return "decode";
  const isTile = tokens >= MIN_TILE_TOKENS && causalTileFits(headDim, adapter) && !adapter.software;
  return isTile ? "tile" : "rows";
}

/** Whether there is a tile for this head size, and a workgroup has the memory that it takes. */
export function causalTileFits(headDim: number, { workgroupBytes }: AdapterSummary): boolean {
  const keys = TILE_KEYS[headDim];
  return keys !== undefined && tileBytes(TILE_ROWS, headDim, keys, 1) <= workgroupBytes;
}

/**
 * Causal grouped-query attention (arXiv 2305.13245) over the cache; token t sees cache rows 0 … start + t. Sums in f32.
 *
 * @param q             [R, ≥ heads·headDim], rotated queries in the first columns; the packed projection will do
 * @param keys, values  [S, kvHeads·headDim], the T new tokens already written; S ≥ start + T
 * @param y             [R, heads·headDim], of which the rows of this sequence are written. Default: a new tensor
 * @returns             y, element type of `q`
 * @throws ShapeError when shapes do not fit, or the head size or the width of `q` is no multiple of 4
 */
export function causalAttention(q: Tensor, keys: Tensor, values: Tensor, layout: CacheLayout, y?: Tensor): Tensor {
  const { tokens = q.dims("R columns").R - (layout.row ?? 0), headDim } = layout;
  const variant = pickCausalAttention({ tokens, headDim }, q.gpu.adapter);
  return causalAttentionBy(variant, q, keys, values, layout, y);
}

/** `causalAttention` with the choice of the shader left to the caller, for tests and benchmarks. */
export function causalAttentionBy(
  variant: CausalAttentionVariant,
  q: Tensor,
  keys: Tensor,
  values: Tensor,
  layout: CacheLayout,
  y: Tensor = q.like([q.dims("R columns").R, layout.heads * layout.headDim]),
): Tensor {
  const { heads, kvHeads, headDim, start, row = 0 } = layout;
  const { R, columns } = q.dims("R columns");
  const { tokens: T = R - row } = layout;
  checkShapes(q, keys, values, layout, y);
  const tensors = { q, keys, values, y };
  const params = { tokens: T, heads, kv_heads: kvHeads, stride: columns / 4, start, scale: headDim ** -0.5, row };
  const constants = { HEAD_DIM: headDim };
  if (variant === "lanes") {
    const sharing = (T * heads) / kvHeads;
    const QUERIES = sharing > 4 ? 8 : 4;
    lanes.run(tensors, params, {
      workgroups: kvHeads * Math.ceil(sharing / QUERIES),
      overrides: { KV_F16: keys.dtype === "f16" },
      constants: { ...constants, LANES: cpuLanes(q.gpu.adapter), QUERIES },
    });
  } else if (variant === "tile") {
    const workgroups = kvHeads * Math.ceil((T * heads) / kvHeads / TILE_ROWS);
    tile.run(tensors, params, { workgroups, constants: { ...constants, KEYS: TILE_KEYS[headDim] ?? 16 } });
  } else if (variant === "decode") {
    decode.run(tensors, params, { workgroups: heads, overrides: { WORKGROUP_SIZE: DECODE_SIZE }, constants });
  } else {
    const workgroups = Math.ceil((T * heads) / ROWS_SIZE);
    rows.run(tensors, params, { workgroups, overrides: { WORKGROUP_SIZE: ROWS_SIZE }, constants });
  }
  return y;
}

function checkShapes(q: Tensor, keys: Tensor, values: Tensor, layout: CacheLayout, y: Tensor): void {
  const { heads, kvHeads, headDim, start, row = 0 } = layout;
  const { R, columns } = q.dims("R columns");
  const { tokens: T = R - row } = layout;
  const { S } = keys.dims("S width");
  expectShape("causal_attention: keys", keys, [S, kvHeads * headDim]);
  expectShape("causal_attention: values", values, [S, kvHeads * headDim]);
  expectShape("causal_attention: y", y, [R, heads * headDim]);
  if (row + T > R) throw new ShapeError(`causal_attention: expected at least ${row + T} rows, got ${R}`);
  if (heads % kvHeads !== 0) {
    throw new ShapeError(`causal_attention: expected heads a multiple of ${kvHeads}, got ${heads}`);
  }
  if (headDim % 4 !== 0 || columns % 4 !== 0) {
    throw new ShapeError(
      `causal_attention: expected head sizes and rows of multiples of 4 elements, got ${headDim} and ${columns}`,
    );
  }
  if (columns < heads * headDim) {
    throw new ShapeError(`causal_attention: expected rows of at least ${heads * headDim} elements, got ${columns}`);
  }
  if (keys.dtype !== values.dtype) {
    throw new ShapeError(`causal_attention: expected values of ${keys.dtype} as keys, got ${values.dtype}`);
  }
  if (start + T > S) throw new ShapeError(`causal_attention: expected at least ${start + T} cached tokens, got ${S}`);
}
