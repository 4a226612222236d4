import assert from "node:assert/strict";
import { test } from "node:test";
import { pickArgmax } from "../kernels/argmax.ts";
import { pickAttention } from "../kernels/attention.ts";
import { pickCausalAttention } from "../kernels/causal_attention.ts";
import { hasCpuLanes } from "../kernels/lanes.ts";
import { linearCandidates } from "../kernels/linear.ts";
import { quantizedCandidates } from "../kernels/linear_quantized.ts";
import { MIN_DOT_ROWS } from "../kernels/linear_quantized_dot.ts";
import { pickRmsNorm } from "../kernels/rms_norm.ts";
import { pickRotaryAttention } from "../kernels/rotary_attention.ts";
import { DRY_ADAPTER } from "../src/gpu/device.ts";
import { MAX_BATCH } from "../src/pipeline/scheduler.ts";

const eight = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 8, subgroupMaxSize: 8 };
const sixteen = { ...eight, subgroupMinSize: 16, subgroupMaxSize: 16 };
const wide = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 32, subgroupMaxSize: 32 };
const four = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 4, subgroupMaxSize: 4 };
/** May run 8 lanes or 32, which a shader cannot count on. */
const varying = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 8, subgroupMaxSize: 32 };

/** A real GPU, and one with tensor cores. */
const gpu = { ...wide, software: false, workgroupBytes: 49152 };
const matrices = { ...gpu, subgroupMatrices: [{ component: "f16", result: "f32", M: 16, N: 16, K: 16 }] };

test("linear: matrices where subgroups have them, and rows enough of halfs", () => {
  const shape = { rows: 310, inputs: 896, outputs: 1152, half: true };
  assert.deepEqual(linearCandidates(shape, matrices), ["matrix_deep", "matrix_parts", "matrix", "matrix_wide"]);
  assert.deepEqual(linearCandidates({ ...shape, rows: 16 }, matrices), [
    "matrix_deep",
    "matrix_parts",
    "matrix",
    "row",
  ]);
  assert.equal(linearCandidates({ ...shape, rows: 4096 }, matrices)[0], "matrix_wide");
  assert.equal(linearCandidates({ ...shape, inputs: 4864, outputs: 896 }, matrices)[0], "matrix_parts");
  assert.ok(!linearCandidates({ ...shape, inputs: 440 }, matrices).includes("matrix_parts"));
  assert.ok(!linearCandidates({ ...shape, inputs: 4864, rows: 1024 }, matrices).includes("matrix_parts"));
  for (const other of [{ rows: 8 }, { inputs: 900 }, { outputs: 1150 }, { half: false }]) {
    assert.ok(!linearCandidates({ ...shape, ...other }, matrices).includes("matrix"));
  }
  assert.deepEqual(linearCandidates(shape, gpu), ["tile_vec4", "tile_tall"]);
  assert.ok(!linearCandidates(shape, { ...matrices, subgroupMinSize: 16 }).includes("matrix"));
  assert.ok(!linearCandidates(shape, { ...matrices, workgroupBytes: 32768 }).includes("matrix"));
});

test("lanes: a CPU's subgroups of exactly 8 or 16, and no GPU's", () => {
  for (const adapter of [wide, four, varying, DRY_ADAPTER]) assert.ok(!hasCpuLanes(adapter));
  for (const adapter of [eight, sixteen]) {
    assert.ok(!hasCpuLanes({ ...adapter, software: false }));
    assert.equal(pickRmsNorm(896, { ...adapter, software: false }), "subgroup");
    assert.equal(pickRmsNorm(896, adapter), "lanes");
    assert.equal(pickCausalAttention({ tokens: 9, headDim: 64 }, adapter), "lanes");
    assert.equal(pickAttention(32, false, adapter), "lanes");
    assert.equal(pickRotaryAttention({ tokens: 1, headDim: 64, start: 9 }, adapter), "two");
    assert.equal(linearCandidates({ rows: 288, inputs: 896, outputs: 1152 }, adapter)[0], "lanes_tall");
    assert.equal(quantizedCandidates({ rows: 1, inputs: 896, outputs: 1152 }, adapter)[0], "lanes_row");
  }
});

test("linear: lanes where a CPU's subgroups have them and the inputs divide", () => {
  assert.equal(linearCandidates({ rows: 288, inputs: 896, outputs: 1152 }, eight)[0], "lanes_tall");
  assert.equal(linearCandidates({ rows: 288, inputs: 896, outputs: 1150 }, eight)[0], "lanes");
  assert.equal(linearCandidates({ rows: 16, inputs: 896, outputs: 1152 }, eight)[0], "lanes");
  assert.equal(linearCandidates({ rows: 1, inputs: 896, outputs: 96 }, eight)[0], "lanes_row");
  assert.equal(linearCandidates({ rows: 288, inputs: 900, outputs: 96 }, eight)[0], "tile");
  assert.equal(linearCandidates({ rows: 1, inputs: 900, outputs: 96 }, eight)[0], "row");
});

test("linear: elsewhere teams for decoding, or rows without subgroups, and tiles for the rest", () => {
  for (const adapter of [wide, varying, DRY_ADAPTER]) {
    const first = (rows: number, inputs: number, outputs: number) =>
      linearCandidates({ rows, inputs, outputs }, adapter)[0];
    const team = (variant: string): string => (adapter.subgroups ? variant : "row");
    assert.equal(first(1, 896, 96), team("team"));
    assert.equal(first(1, 896, 9728), team("team_2"));
    assert.equal(first(1, 896, 151936), team("team_4"));
    assert.equal(first(4, 896, 96), team("team_4"));
    assert.equal(first(8, 896, 96), adapter.subgroups ? "team_4" : "tile");
    assert.equal(first(1, 900, 96), "row");
    assert.equal(first(9, 896, 96), "tile");
    assert.equal(first(1, 37, 96), "tile");
  }
});

test("linear, quantised: matrices as well", () => {
  assert.equal(quantizedCandidates({ rows: 310, inputs: 896, outputs: 96 }, matrices)[0], "matrix_deep");
  assert.equal(quantizedCandidates({ rows: 310, inputs: 896, outputs: 90 }, matrices)[0], "tile");
  assert.equal(quantizedCandidates({ rows: 9, inputs: 896, outputs: 96 }, matrices)[0], "tile");
});

test("linear, quantised: the same, whatever the number of inputs", () => {
  assert.equal(quantizedCandidates({ rows: 288, inputs: 896, outputs: 96 }, eight)[0], "lanes_tall");
  assert.equal(quantizedCandidates({ rows: 16, inputs: 896, outputs: 96 }, eight)[0], "lanes");
  assert.equal(quantizedCandidates({ rows: 1, inputs: 896, outputs: 96 }, eight)[0], "lanes_row");
  assert.equal(quantizedCandidates({ rows: 7, inputs: 896, outputs: 96 }, wide)[0], "team");
  assert.equal(quantizedCandidates({ rows: 7, inputs: 896, outputs: 96 }, DRY_ADAPTER)[0], "row");
  assert.equal(quantizedCandidates({ rows: 9, inputs: 896, outputs: 96 }, varying)[0], "tile");
});

test("linear, quantised: bytes for many rows where a matrix permits them, after matrices, and last on CPUs", () => {
  const shape = { rows: 310, inputs: 896, outputs: 96 };
  const [packed, packedEight] = [gpu, eight].map((adapter) => ({ ...adapter, packedDot: true }));
  assert.deepEqual(quantizedCandidates(shape, packed!, "int8"), ["dot", "tile"]);
  assert.deepEqual(quantizedCandidates(shape, { ...DRY_ADAPTER, packedDot: true }, "int8"), ["dot", "tile"]);
  assert.deepEqual(quantizedCandidates(shape, packedEight!, "int8"), ["lanes_tall", "lanes", "dot"]);
  for (const rows of [1, 7, 8, 32, MAX_BATCH]) {
    for (const adapter of [packed!, packedEight!, { ...DRY_ADAPTER, packedDot: true }]) {
      const few = { ...shape, rows };
      assert.deepEqual(quantizedCandidates(few, adapter, "int8"), quantizedCandidates(few, adapter));
    }
  }
  for (const adapter of [packed!, packedEight!]) {
    assert.ok(!quantizedCandidates(shape, adapter).includes("dot"), "without permission");
    assert.ok(
      !quantizedCandidates(shape, { ...adapter, packedDot: false }, "int8").includes("dot"),
      "without the feature",
    );
  }
  assert.equal(MIN_DOT_ROWS, MAX_BATCH + 1, "answers that are decoded together are not rounded");
  const both = { ...matrices, packedDot: true };
  assert.deepEqual(quantizedCandidates(shape, both, "int8"), quantizedCandidates(shape, both));
  assert.equal(quantizedCandidates({ ...shape, outputs: 90 }, both, "int8")[0], "dot");
});

test("attention follows the subgroups", () => {
  assert.equal(pickAttention(32, true, eight), "lanes");
  assert.equal(pickAttention(32, true, gpu), "tile");
  assert.equal(pickAttention(32, true, matrices), "matrix");
  assert.equal(pickAttention(32, false, matrices), "tile");
  assert.equal(pickAttention(20, true, gpu), "rows");
  assert.equal(pickAttention(32, true, varying), "rows");
});

test("causal attention: decoding has its own shader, unless the head is wider than its workgroup", () => {
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 64 }, wide), "decode");
  assert.equal(pickCausalAttention({ tokens: 2, headDim: 64 }, wide), "rows");
  assert.equal(pickCausalAttention({ tokens: 8, headDim: 64 }, gpu), "tile");
  assert.equal(pickCausalAttention({ tokens: 8, headDim: 96 }, gpu), "rows");
  assert.equal(pickCausalAttention({ tokens: 8, headDim: 64 }, { ...gpu, workgroupBytes: 16384 }), "rows");
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 512 }, wide), "rows");
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 64 }, eight), "lanes");
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 20 }, eight), "decode");
});

test("a single token is rotated, cached and attended from in one run where subgroups have eight lanes or more", () => {
  const token = { tokens: 1, headDim: 64, start: 1024 };
  for (const adapter of [wide, varying]) {
    assert.equal(pickRotaryAttention(token, adapter), "one");
    assert.equal(pickRotaryAttention({ ...token, start: 1025 }, adapter), "split");
    assert.equal(pickRotaryAttention({ ...token, tokens: 2 }, adapter), "two");
    assert.equal(pickRotaryAttention({ ...token, headDim: 20 }, adapter), "two");
    assert.equal(pickRotaryAttention({ ...token, headDim: 256 }, adapter), "two");
  }
  for (const adapter of [eight, DRY_ADAPTER, four]) assert.equal(pickRotaryAttention(token, adapter), "two");
});

test("norms follow the subgroups, argmax the size of the row", () => {
  assert.deepEqual(
    [eight, wide, varying, four, DRY_ADAPTER].map((adapter) => pickRmsNorm(896, adapter)),
    ["lanes", "subgroup", "subgroup", "group", "group"],
  );
  assert.equal(pickRmsNorm(6, wide), "group");
  assert.equal(pickArgmax(151936, { ...wide, software: false }), "two");
  assert.equal(pickArgmax(1000, { ...wide, software: false }), "one");
  assert.equal(pickArgmax(151936, { ...eight, software: true }), "one");
});
