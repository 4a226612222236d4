// Kernel runs that are recorded once and repeated, as decode steps are.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
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
const PENALTIES = { repetitionPenalty: 1.3, presencePenalty: 0.5, logitBias: { 5: 2 } };
const REQUESTS: readonly GenerateOptions[] = [
  { prompt: "Count.", maxTokens: 40 },
  { prompt: "Count.", maxTokens: 12, temperature: 20, seed: 3 },
  { prompt: "Count.", maxTokens: 12, ...PENALTIES },
  LONG,
  REGIMES,
];

/** Tokens and how likely they were: a tiny model says the same whatever it sees, but less certainly. */
async function said(vlm: FastVLM, request: GenerateOptions): Promise<(readonly [number, number | undefined])[]> {
  const pieces: (readonly [number, number | undefined])[] = [];
  for await (const { token, logprob } of vlm.generate({ ...request, logprobs: 2 })) {
    if (token !== undefined) pieces.push([token, logprob]);
  }
  return pieces;
}

describe("answers are the same whether steps are repeated or recorded", {
  skip: !hasSubgroups(gpu.adapter) && "the adapter has no subgroups",
}, () => {
  let vlm: FastVLM;
  let replays = 0;

  before(async () => {
    installPlatform({ ...usual, openGpu: openVarying });
    vlm = await FastVLM.load(golden("models/fastvlm_hf_phi"), { dtype: "f32", autotune: false });
    const { gpu: own } = vlm;
    const { replay } = own;
    own.replay = (...call) => {
      replays++;
      replay.apply(own, call);
    };
  });
  after(() => {
    vlm.close();
    installPlatform(usual);
  });

  /** `body` where no pass is repeated. */
  async function recorded<Result>(body: () => Promise<Result>): Promise<Result> {
    const { gpu: own } = vlm;
    const { tape } = own;
    own.tape = (pass) => {
      own.scope(() => {
        pass();
        return undefined;
      });
      return undefined;
    };
    try {
      return await body();
    } finally {
      own.tape = tape;
    }
  }

  test("past where attention is split and the cache grows, and past where LongRoPE's factors change", async () => {
    for (const [request, limit] of [
      [LONG, 1024],
      [REGIMES, 256],
    ] as const) {
      const { promptTokens } = (await resultOf(vlm.generate({ ...request, maxTokens: 1 }))).usage;
      assert.ok(promptTokens < limit && promptTokens + 30 > limit, `${promptTokens} tokens`);
    }
    for (const request of REQUESTS) {
      replays = 0;
      const pieces = await said(vlm, request);
      assert.ok(replays >= pieces.length - 5, `${replays} replays for ${pieces.length} tokens`);
      assert.deepEqual(pieces, await recorded(() => said(vlm, request)));
    }
  });

  test("alone, beside another that comes and goes, and alone again", async () => {
    const both = async (): Promise<[number, number | undefined][]> => {
      const others: ReturnType<typeof said>[] = [];
      const pieces: [number, number | undefined][] = [];
      for await (const { token, logprob } of vlm.generate({
        prompt: "One.",
        maxTokens: 40,
        logprobs: 1,
        ...PENALTIES,
      })) {
        if (token !== undefined) pieces.push([token, logprob]);
        if (pieces.length === 8 || pieces.length === 25) others.push(said(vlm, { prompt: "Two.", maxTokens: 5 }));
      }
      return [...pieces, ...(await Promise.all(others)).flat()].map(([token, logprob]) => [token, logprob]);
    };
    replays = 0;
    const answers = await both();
    assert.ok(replays > 15, `${replays} replays`);
    const right = await recorded(both);
    for (const [i, [token, logprob]] of answers.entries()) {
      assert.equal(token, right[i]![0]);
      // Which steps are shared is a matter of time, and sums of two rows round otherwise than those of one.
      assert.ok(Math.abs(logprob! - right[i]![1]!) < 1e-4, `token ${i}: ${logprob}, expected ${right[i]![1]}`);
    }
  });
});
