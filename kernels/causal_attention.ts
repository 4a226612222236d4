import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";
import type { CacheLayout } from "./kv_write.ts";

const kernel = defineKernel({
  name: "causal_attention",
  source: new URL("../shaders/causal_attention.wgsl", import.meta.url),
  buffers: { q: "read", keys: "read", values: "read", y: "write" },
  params: { tokens: "u32", heads: "u32", kv_heads: "u32", stride: "u32", start: "u32", scale: "f32" },
  overrides: ["WORKGROUP_SIZE"],
  constants: ["HEAD_DIM"],
});

/** One subgroup of a CPU adapter: decoding has only as many threads as heads. */
const WORKGROUP_SIZE = 8;

/**
 * Causal grouped-query attention (arXiv 2305.13245) over the cache; token t sees cache rows 0 … start + t.
 *
 * @param q             [T, ≥ heads·headDim], rotated queries in the first columns; the packed projection will do
 * @param keys, values  [S, kvHeads·headDim], the T new tokens already written; S ≥ start + T
 * @returns             [T, heads·headDim]
 */
export function causalAttention(q: Tensor, keys: Tensor, values: Tensor, { heads, kvHeads, headDim, start }: CacheLayout): Tensor {
  const { T, columns } = q.dims("T columns");
  const { S } = keys.dims("S width");
  expectShape("causal_attention: keys", keys, [S, kvHeads * headDim]);
  expectShape("causal_attention: values", values, [S, kvHeads * headDim]);
  if (heads % kvHeads !== 0) throw new ShapeError(`causal_attention: expected heads a multiple of ${kvHeads}, got ${heads}`);
  if (headDim % 4 !== 0 || columns % 4 !== 0) throw new ShapeError(`causal_attention: expected a head size that is a multiple of 4, got ${headDim}`);
  if (start + T > S) throw new ShapeError(`causal_attention: expected at least ${start + T} cached tokens, got ${S}`);
  const y = q.like([T, heads * headDim]);
  const params = { tokens: T, heads, kv_heads: kvHeads, stride: columns / 4, start, scale: headDim ** -0.5 };
  kernel.run({ q, keys, values, y }, params, {
    workgroups: Math.ceil((T * heads) / WORKGROUP_SIZE),
    overrides: { WORKGROUP_SIZE },
    constants: { HEAD_DIM: headDim },
  });
  return y;
}
