import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "attention",
  source: new URL("../shaders/attention.wgsl", import.meta.url),
  buffers: { qkv: "read", y: "write" },
  params: { batch: "u32", tokens: "u32", heads: "u32", scale: "f32" },
  overrides: ["WORKGROUP_SIZE"],
  constants: ["HEAD_DIM"],
});

/** Threads of a workgroup: few, so that small maps still fill the adapter. */
const WORKGROUP_SIZE = 32;

/**
 * Full self-attention: every token sees every token.
 *
 * @param qkv    [B, N, 3·C], queries of all heads, then keys, then values
 * @param heads  C must be heads · headDim, headDim a multiple of 4
 * @returns      [B, N, C]
 */
export function selfAttention(qkv: Tensor, heads: number): Tensor {
  const { B, N, W } = qkv.dims("B N W");
  const C = W / 3;
  const headDim = C / heads;
  if (!Number.isInteger(headDim) || headDim % 4 !== 0) {
    throw new ShapeError(`attention: expected rows of 3 · ${heads} heads · a multiple of 4, got ${W}`);
  }
  const y = qkv.like([B, N, C]);
  const params = { batch: B, tokens: N, heads, scale: headDim ** -0.5 };
  kernel.run({ qkv, y }, params, {
    workgroups: Math.ceil((B * N * heads) / WORKGROUP_SIZE),
    overrides: { WORKGROUP_SIZE },
    constants: { HEAD_DIM: headDim },
  });
  return y;
}
