import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "kv_write",
  source: new URL("../shaders/kv_write.wgsl", import.meta.url),
  buffers: { qkv: "read", keys: "update", values: "update" },
  params: { size: "u32", width: "u32", queries: "u32", start: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

export interface CacheLayout {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens in the cache before this call. */
  readonly start: number;
}

/**
 * Appends the keys and values of T tokens to the cache.
 *
 * @param qkv           [T, (heads + 2·kvHeads)·headDim]: queries, keys, values
 * @param keys, values  [S, kvHeads·headDim], S ≥ start + T
 */
export function kvWrite(
  qkv: Tensor,
  keys: Tensor,
  values: Tensor,
  { heads, kvHeads, headDim, start }: CacheLayout,
): void {
  const width = kvHeads * headDim;
  const { T } = qkv.dims("T columns");
  const { S } = keys.dims("S width");
  expectShape("kv_write: qkv", qkv, [T, heads * headDim + 2 * width]);
  expectShape("kv_write: keys", keys, [S, width]);
  expectShape("kv_write: values", values, [S, width]);
  if (start + T > S) throw new ShapeError(`kv_write: expected room for ${start + T} tokens, the cache has ${S}`);
  const params = { size: T * width, width, queries: heads * headDim, start };
  kernel.run({ qkv, keys, values }, params, { workgroups: Math.ceil((T * width) / 64) });
}
