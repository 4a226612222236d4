import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "kv_write",
  source: new URL("../shaders/kv_write.wgsl", import.meta.url),
  buffers: { qkv: "read", keys: "update", values: "update" },
  params: { size: "u32", width: "u32", queries: "u32", start: "u32", row: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

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

/**
 * Appends the keys and values of T = `tokens` rows to the cache.
 *
 * @param qkv           [R, (heads + 2·kvHeads)·headDim]: queries, keys, values
 * @param keys, values  [S, kvHeads·headDim], S ≥ start + T
 */
export function kvWrite(qkv: Tensor, keys: Tensor, values: Tensor, layout: CacheLayout): void {
  const { heads, kvHeads, headDim, start, row = 0 } = layout;
  const width = kvHeads * headDim;
  const { R } = qkv.dims("R columns");
  const { tokens: T = R - row } = layout;
  const { S } = keys.dims("S width");
  expectShape("kv_write: qkv", qkv, [R, heads * headDim + 2 * width]);
  expectShape("kv_write: keys", keys, [S, width]);
  expectShape("kv_write: values", values, [S, width]);
  if (row + T > R) throw new ShapeError(`kv_write: expected at least ${row + T} rows, got ${R}`);
  if (start + T > S) throw new ShapeError(`kv_write: expected room for ${start + T} tokens, the cache has ${S}`);
  const params = { size: T * width, width, queries: heads * headDim, start, row };
  kernel.run({ qkv, keys, values }, params, { workgroups: Math.ceil((T * width) / 64) });
}
