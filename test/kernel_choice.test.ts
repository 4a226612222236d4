import assert from "node:assert/strict";
import { test } from "node:test";
import { pickAttention } from "../kernels/attention.ts";
import { pickCausalAttention } from "../kernels/causal_attention.ts";
import { linearCandidates } from "../kernels/linear.ts";
import { quantizedCandidates } from "../kernels/linear_quantized.ts";
import { DRY_ADAPTER } from "../src/gpu/device.ts";

const eight = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 8, subgroupMaxSize: 8 };
const wide = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 32, subgroupMaxSize: 32 };
/** May run 8 lanes or 32, which a shader cannot count on. */
const varying = { ...DRY_ADAPTER, subgroups: true, subgroupMinSize: 8, subgroupMaxSize: 32 };

test("linear: lanes where subgroups have exactly eight of them and the inputs divide", () => {
  assert.equal(linearCandidates({ rows: 288, inputs: 896, outputs: 1152 }, eight)[0], "lanes_tall");
  assert.equal(linearCandidates({ rows: 288, inputs: 896, outputs: 1150 }, eight)[0], "lanes");
  assert.equal(linearCandidates({ rows: 24, inputs: 896, outputs: 1152 }, eight)[0], "lanes");
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

test("linear, quantised: the same, whatever the number of inputs", () => {
  assert.equal(quantizedCandidates(288, eight)[0], "lanes");
  assert.equal(quantizedCandidates(1, eight)[0], "lanes_row");
  assert.equal(quantizedCandidates(7, wide)[0], "team");
  assert.equal(quantizedCandidates(7, DRY_ADAPTER)[0], "row");
  assert.equal(quantizedCandidates(9, varying)[0], "tile");
});

test("attention follows the subgroups", () => {
  assert.equal(pickAttention(eight), "lanes");
  assert.equal(pickAttention(varying), "rows");
});

test("causal attention: decoding has its own shader, unless the head is wider than its workgroup", () => {
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 64 }, wide), "decode");
  assert.equal(pickCausalAttention({ tokens: 2, headDim: 64 }, wide), "rows");
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 512 }, wide), "rows");
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 64 }, eight), "lanes");
  assert.equal(pickCausalAttention({ tokens: 1, headDim: 20 }, eight), "decode");
});
