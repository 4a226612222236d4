// Kernel runs that are recorded once and repeated, as decode steps are.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { hasSubgroups } from "../kernels/lanes.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { ropeAndCache } from "../kernels/rope_kv.ts";
import { ropeTable } from "../kernels/rope_table.ts";
import { FastVLM, type GenerateOptions } from "../src/node.ts";
import { installPlatform, platform } from "../src/pipeline/platform.ts";
import { golden, resultOf } from "./answers.ts";
import { gpu } from "./gpu.ts";
import { openVarying } from "./varying.ts";

const usual = platform();
after(() => installPlatform(usual));

const numbers = (n: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: n }, (_, i) => Math.sin(i));

test("a replay is the pass again, with parameters of its own and memory that is nobody else's", async () => {
  const layout = { heads: 2, kvHeads: 1, headDim: 8, rotaryDim: 8 };
  const table = gpu.upload([8, 8], "f32", ropeTable({ positions: 8, rotaryDim: 8, theta: 10000 }));
  const x = gpu.upload([1, 32], "f32", numbers(32));
  const weight = gpu.upload([32], "f32", new Float32Array(32).fill(1));
  const [keys, values, rightKeys, rightValues] = Array.from({ length: 4 }, () => {
    return gpu.upload([8, 8], "f32", new Float32Array(64));
  }) as [typeof x, typeof x, typeof x, typeof x];
  const { used } = gpu.memory;
  const tape = gpu.tape(
    () => ropeAndCache(rmsNorm(x, weight, 1e-5), table, keys, values, { ...layout, start: 2 }),
    ["start"],
  );
  assert.ok(tape);
  assert.equal(gpu.memory.used, used);
  const others = Array.from({ length: 4 }, () => gpu.upload([1, 32], "f32", new Float32Array(32).fill(7)));
  const { dispatches } = gpu;
  for (const start of [5, 3]) gpu.replay(tape, { start });
  assert.equal(gpu.dispatches, dispatches + 2 * tape.runs.length);
  for (const start of [2, 5, 3]) {
    gpu.scope(() => {
      ropeAndCache(rmsNorm(x, weight, 1e-5), table, rightKeys, rightValues, { ...layout, start });
      return undefined;
    });
  }
  assert.deepEqual(await gpu.read(keys), await gpu.read(rightKeys));
  assert.deepEqual(await gpu.read(values), await gpu.read(rightValues));
  const rows = Array.from({ length: 8 }, (_, row) => row);
  const written = await gpu.read(keys);
  assert.deepEqual(
    rows.filter((row) => written.subarray(8 * row, 8 * row + 8).some((value) => value !== 0)),
    [2, 3, 5],
  );
  for (const other of others) assert.deepEqual(await gpu.read(other), new Float32Array(32).fill(7));
  for (const tensor of [table, x, weight, keys, values, rightKeys, rightValues, ...others]) gpu.release(tensor);
});

test("what copies or writes is done, and gives no tape", async () => {
  const [x, y] = [gpu.upload([4], "f32", numbers(4)), gpu.empty([4], "f32")];
  assert.equal(
    gpu.tape(() => gpu.copy(x, y), []),
    undefined,
  );
  assert.deepEqual(await gpu.read(y), numbers(4));
  const bytes = new Uint8Array(new Float32Array(4).fill(3).buffer);
  assert.equal(
    gpu.tape(() => gpu.write(y, 0, bytes), []),
    undefined,
  );
  assert.deepEqual(await gpu.read(y), new Float32Array(4).fill(3));
  for (const tensor of [x, y]) gpu.release(tensor);
});

const LONG: GenerateOptions = { prompt: "b ".repeat(1005), maxTokens: 30 };
const REGIMES: GenerateOptions = { prompt: "b ".repeat(240), maxTokens: 30 };
const REQUESTS: readonly GenerateOptions[] = [
  { prompt: "Count.", maxTokens: 40 },
  { prompt: "Count.", maxTokens: 12, temperature: 1, topK: 50, seed: 3, logprobs: 2 },
  { prompt: "Count.", maxTokens: 12, repetitionPenalty: 1.3, presencePenalty: 0.5, logitBias: { 5: 2 } },
  LONG,
  REGIMES,
];

test("answers are the same whether steps are repeated or recorded", {
  skip: !hasSubgroups(gpu.adapter) && "the adapter has no subgroups",
}, async () => {
  installPlatform({ ...usual, openGpu: openVarying });
  using vlm = await FastVLM.load(golden("models/fastvlm_hf_phi"), { dtype: "f32", autotune: false });
  const own = vlm.gpu;
  const { tape, replay } = own;
  let replays = 0;
  own.replay = (...call) => {
    replays++;
    replay.apply(own, call);
  };
  for (const [request, limit] of [
    [LONG, 1024], // where attention is split, and the cache grows
    [REGIMES, 256], // where LongRoPE's factors change
  ] as const) {
    const { promptTokens } = (await resultOf(vlm.generate({ ...request, maxTokens: 1 }))).usage;
    assert.ok(promptTokens < limit && promptTokens + 30 > limit, `${promptTokens} tokens`);
  }
  for (const request of REQUESTS) {
    replays = 0;
    const { tokens } = await resultOf(vlm.generate(request));
    assert.ok(replays >= tokens.length - 5, `${replays} replays for ${tokens.length} tokens`);
    own.tape = (body) => {
      own.scope(() => {
        body();
        return undefined;
      });
      return undefined;
    };
    const { tokens: recorded } = await resultOf(vlm.generate(request));
    own.tape = tape;
    assert.deepEqual(tokens, recorded);
  }
});
