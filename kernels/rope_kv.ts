import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "rope_kv",
  source: new URL("../shaders/rope_kv.wgsl", import.meta.url),
  buffers: { table: "read", qkv: "update", keys: "update", values: "update" },
  params: {
    size: "u32",
    heads: "u32",
    kv_heads: "u32",
    head_dim: "u32",
    rotary_dim: "u32",
    start: "u32",
    row: "u32",
  },
  overrides: ["WORKGROUP_SIZE"],
});

const WORKGROUP_SIZE = 64;

export interface CacheLayout {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens in the cache before this call. */
  readonly start: number;
  /** First row that belongs to the sequence of this cache. Default 0 */
  readonly row?: number | undefined;
  /** Rows that belong to it. Default: all from `row` on */
  readonly tokens?: number | undefined;
}

export interface RotaryLayout extends CacheLayout {
  /** Leading elements of each head that are rotated, an even number; the rest pass through. */
  readonly rotaryDim: number;
}

/**
 * Rotary positions (arXiv 2104.09864), pairs (i, i + r/2), of T = `tokens` rows: queries are rotated in place, and rotated keys and
 * values are appended to the cache.
 *
 * @param qkv           [R, (heads + 2·kvHeads)·headDim]: queries, keys, values; keys stay as they were
 * @param table         [P, rotaryDim] f32: cosines, then sines, of each position (see `ropeTable`); P ≥ start + T
 * @param keys, values  [S, kvHeads·headDim], S ≥ start + T
 * @throws ShapeError when shapes do not fit
 */
export function ropeAndCache(qkv: Tensor, table: Tensor, keys: Tensor, values: Tensor, layout: RotaryLayout): void {
  const { heads, kvHeads, headDim, rotaryDim, start, row = 0 } = layout;
  const { tokens: T = qkv.dims("R columns").R - row } = layout;
  checkRotary(qkv, table, keys, values, layout);
  const size = T * (heads + 2 * kvHeads) * Math.ceil(headDim / 2);
  const params = { size, heads, kv_heads: kvHeads, head_dim: headDim, rotary_dim: rotaryDim, start, row };
  kernel.run({ table, qkv, keys, values }, params, { workgroups: Math.ceil(size / WORKGROUP_SIZE) });
}

/** Throws ShapeError unless the tensors fit; see `ropeAndCache`. */
export function checkRotary(qkv: Tensor, table: Tensor, keys: Tensor, values: Tensor, layout: RotaryLayout): void {
  const { heads, kvHeads, headDim, rotaryDim, start, row = 0 } = layout;
  const { R } = qkv.dims("R columns");
  const { tokens: T = R - row } = layout;
  const { P, r } = table.dims("P r");
  const { S } = keys.dims("S width");
  expectShape("rope_kv: qkv", qkv, [R, (heads + 2 * kvHeads) * headDim]);
  expectShape("rope_kv: keys", keys, [S, kvHeads * headDim]);
  expectShape("rope_kv: values", values, [S, kvHeads * headDim]);
  if (r !== rotaryDim || P < start + T) {
    throw new ShapeError(`rope_kv: table: expected at least [${start + T}, ${rotaryDim}], got [${P}, ${r}]`);
  }
  if (row + T > R) throw new ShapeError(`rope_kv: expected at least ${row + T} rows, got ${R}`);
  if (start + T > S) throw new ShapeError(`rope_kv: expected room for ${start + T} tokens, the cache has ${S}`);
}
