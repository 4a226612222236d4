import type { AdapterSummary } from "../src/gpu/device.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { causalAttention } from "./causal_attention.ts";
import { hasCpuLanes, hasSubgroups } from "./lanes.ts";
import { checkRotary, type RotaryLayout, ropeAndCache } from "./rope_kv.ts";

const attention = defineKernel({
  name: "rotary_attention",
  source: new URL("../shaders/rotary_attention.wgsl", import.meta.url),
  buffers: { qkv: "read", table: "read", keys: "update", values: "update", y: "update" },
  params: {
    heads: "u32",
    kv_heads: "u32",
    rotary_dim: "u32",
    start: "u32",
    row: "u32",
    scale: "f32",
  },
  overrides: ["WORKGROUP_SIZE", "IS_PART"],
  constants: ["HEAD_DIM", "LANES", "OWN", "UNROLL", "PARTS"],
  features: ["subgroups"],
});

const merge = defineKernel({
  name: "rotary_attention_merge",
  source: new URL("../shaders/rotary_attention_merge.wgsl", import.meta.url),
  buffers: { x: "read", y: "update" },
  params: { heads: "u32", parts: "u32", row: "u32" },
  overrides: ["WORKGROUP_SIZE"],
  constants: ["HEAD_DIM"],
});

/** Elements of a head that a workgroup's memory has room for. */
const MAX_HEAD = 192;
/** Threads that hold a key, at most: as many as the smallest subgroup. */
const MAX_LANES = 8;
/** Vectors of keys that a thread loads before it uses them, about; software adapters gain nothing by it, and compile the longer for it. */
const LOADS = 16;
const SOFTWARE_LOADS = 4;
/** Subgroups of a workgroup, and threads, at most. */
const SUBGROUPS = 16;
const MAX_SIZE = 512;
/** More cached keys than `LONG` are cut into so many parts; then a second run merges them. */
const LONG = 1024;
const SPLITS = 16;

/** In how many runs the new token of a sequence is rotated, cached and attended from: two, or one where a shader does all. */
export type RotaryAttentionVariant = "two" | "one" | "split";

/** Which shaders serve this many tokens, with so many others in the cache. */
export function pickRotaryAttention(
  { tokens, headDim, start }: { tokens: number; headDim: number; start: number },
  adapter: AdapterSummary,
): RotaryAttentionVariant {
  const serves = tokens === 1 && headDim % 8 === 0 && headDim <= MAX_HEAD;
  if (!serves || !hasSubgroups(adapter) || hasCpuLanes(adapter)) return "two";
  return start > LONG ? "split" : "one";
}

/**
 * `ropeAndCache`, then `causalAttention`, of the same rows: in one run for a single token, where the adapter has subgroups.
 *
 * @param qkv           [R, (heads + 2·kvHeads)·headDim]: queries, keys, values; what it holds afterwards is not defined
 * @param table         [P, rotaryDim] f32, P ≥ start + T
 * @param keys, values  [S, kvHeads·headDim], to which the rows are appended; S ≥ start + T
 * @param y             [R, heads·headDim], of which the rows of this sequence are written
 * @throws ShapeError when shapes do not fit
 */
export function rotaryAttention(
  qkv: Tensor,
  table: Tensor,
  keys: Tensor,
  values: Tensor,
  layout: RotaryLayout,
  y: Tensor,
): void {
  const { gpu } = qkv;
  const { headDim, start, tokens = qkv.dims("R columns").R - (layout.row ?? 0) } = layout;
  const variant = pickRotaryAttention({ tokens, headDim, start }, gpu.adapter);
  // A rehearsal is of contexts of any length.
  const variants = variant === "one" && gpu.isDry ? (["one", "split"] as const) : [variant];
  for (const each of variants) rotaryAttentionBy(each, qkv, table, keys, values, layout, y);
}

/** `rotaryAttention` with the choice of the shader left to the caller, for tests and benchmarks. */
export function rotaryAttentionBy(
  variant: RotaryAttentionVariant,
  qkv: Tensor,
  table: Tensor,
  keys: Tensor,
  values: Tensor,
  layout: RotaryLayout,
  y: Tensor,
): void {
  if (variant === "two") {
    ropeAndCache(qkv, table, keys, values, layout);
    causalAttention(qkv, keys, values, layout, y);
    return;
  }
  const { gpu } = qkv;
  const { heads, kvHeads, headDim, rotaryDim, start, row = 0 } = layout;
  checkRotary(qkv, table, keys, values, layout);
  expectShape("rotary_attention: y", y, [qkv.shape[0]!, heads * headDim]);
  const splits = variant === "split" ? SPLITS : 1;
  const LANES = lanesOf(headDim);
  const OWN = headDim / 4 / LANES;
  const { subgroupMinSize } = gpu.adapter;
  const WORKGROUP_SIZE = Math.min(MAX_SIZE, workgroupLimit(gpu), SUBGROUPS * subgroupMinSize);
  const PARTS = WORKGROUP_SIZE / subgroupMinSize;
  const UNROLL = Math.max(1, Math.floor((gpu.adapter.software ? SOFTWARE_LOADS : LOADS) / OWN));
  const params = { heads, kv_heads: kvHeads, rotary_dim: rotaryDim, start, row, scale: headDim ** -0.5 };
  const constants = { HEAD_DIM: headDim, LANES, OWN, UNROLL, PARTS };
  const attend = (to: Tensor): void => {
    const overrides = { WORKGROUP_SIZE, IS_PART: splits > 1 };
    attention.run({ qkv, table, keys, values, y: to }, params, { workgroups: [splits, heads], overrides, constants });
  };
  if (splits === 1) {
    attend(y);
    return;
  }
  gpu.scope(() => {
    const parts = gpu.empty([heads, splits, headDim + 4], "f32");
    attend(parts);
    merge.run({ x: parts, y }, { heads, parts: splits, row }, { workgroups: heads, constants: { HEAD_DIM: headDim } });
    return undefined;
  });
}

/** Threads that share the vectors of a key evenly: a power of two. */
function lanesOf(headDim: number): number {
  let lanes = MAX_LANES;
  while ((headDim / 4) % lanes !== 0) lanes /= 2;
  return lanes;
}

/** Threads of a workgroup, at most; what WebGPU promises where there is no device. */
const workgroupLimit = ({ device }: Gpu): number => device?.limits.maxComputeInvocationsPerWorkgroup ?? 256;
