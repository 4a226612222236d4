import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import sampleSuite, { distributionRef, sampleRef } from "../kernels/sample.ref.ts";
import { sample } from "../kernels/sample.ts";
import logprobsSuite, { logprobsRef } from "../kernels/sample_logprobs.ref.ts";
import { InputError } from "../src/errors.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { openNodeGpu } from "../src/node/adapter.ts";
import { checkSampling, Sampler, type SamplingOptions } from "../src/pipeline/sampling.ts";
import { DISTRIBUTIONS, histogram, LOGITS, surprise } from "./draws.ts";
import { gpu } from "./gpu.ts";

/** Chooses as on a GPU: in many workgroups of 256 threads, where a software adapter has few of 32. */
const wide = await openNodeGpu();
wide.poison = true;
Object.defineProperty(wide, "adapter", { value: { ...gpu.adapter, software: false } });
after(() => wide.close());

describe("draws follow the distribution", () => {
  for (const [name, options, row = {}] of DISTRIBUTIONS) {
    test(`${name}: 100,000`, async () => {
      const { counts, expected } = await histogram(gpu, options, row);
      assert.ok(surprise(counts, expected) < 4);
    });
    test(`${name}: 10,000 in wide workgroups`, async () => {
      const { counts, expected } = await histogram(wide, options, row, 10_000);
      assert.ok(surprise(counts, expected) < 4);
      assert.deepEqual(counts, (await histogram(gpu, options, row, 10_000)).counts);
    });
  }

  test("and not another one", async () => {
    const { counts } = await histogram(gpu, { temperature: 1.3 }, {});
    assert.ok(surprise(counts, distributionRef(LOGITS, { temperature: 1.25 })) > 4);
  });
});

describe("choices in wide workgroups are the reference's", () => {
  for (const suite of [sampleSuite, logprobsSuite]) {
    for (const [i, label] of suite.labels.entries()) {
      test(`${suite.name} ${label}`, async () => {
        const { error, tolerance, skipped } = await suite.run(wide, i, "f32");
        assert.ok(!skipped && error <= tolerance, `error ${error} exceeds ${tolerance}`);
      });
    }
  }

  test("and the workgroups are wide", () => {
    const sizes = (device: Gpu) =>
      new Set([...device.variants.keys()].flatMap((key) => /^sample.* WORKGROUP_SIZE=(\d+)/.exec(key)?.[1] ?? []));
    assert.deepEqual([...sizes(wide)], ["256"]);
  });
});

test("successive draws and neighbouring seeds do not depend on each other", async () => {
  const [tokens, others] = [5, 6].map((seed) => {
    const logits = gpu.upload([1, 8], "f32", new Float32Array(8));
    return gpu.scope(() => gpu.keep(sample(logits, { temperature: 1, draws: 20_000, seed })));
  });
  const [a, b] = [await gpu.readU32(tokens!), await gpu.readU32(others!)];
  const even = new Array<number>(64).fill(1 / 64);
  const pairs = (second: (i: number) => number): number[] => {
    const counts = new Array<number>(64).fill(0);
    for (let i = 1; i < a.length; i++) counts[a[i]! * 8 + second(i)]!++;
    return counts;
  };
  for (const second of [(i: number) => a[i - 1]!, (i: number) => b[i]!]) assert.ok(surprise(pairs(second), even) < 4);
});

/** Logits of one step, the same for everybody who asks. */
const stepLogits = (step: number, columns = 90): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: columns }, (_, v) => 2 * Math.sin(v * 1.7 + step));

/** Uploads them, and checks that a choice makes no buffer. */
async function choose(sampler: Sampler, logits: Float32Array<ArrayBuffer>): Promise<number> {
  const tensor = gpu.upload([1, logits.length], "f32", logits);
  const [token] = await gpu.readU32(sampler.choose(tensor));
  gpu.release(tensor);
  return token!;
}

async function text(
  options: SamplingOptions,
  { steps = 12, vocabulary = 90, context = [1, 2] } = {},
): Promise<number[]> {
  const sampler = new Sampler(gpu, options, { columns: 90, vocabulary, context });
  const tokens: number[] = [];
  for (let step = 0; step < steps; step++) tokens.push(await choose(sampler, stepLogits(step)));
  sampler.free();
  return tokens;
}

test("the same seed gives the same text, another one another", async () => {
  const options = { temperature: 1.2, topP: 0.95 };
  const first = await text({ ...options, seed: 2 ** 52 + 1 });
  assert.deepEqual(await text({ ...options, seed: 2 ** 52 + 1 }), first);
  assert.notDeepEqual(await text({ ...options, seed: 1 }), first);
  assert.notDeepEqual(await text(options), await text(options));
});

test("a text is what the reference draws, penalties included, step by step", async () => {
  const options = { temperature: 0.9, topK: 30, repetitionPenalty: 1.4, frequencyPenalty: 0.5, presencePenalty: 0.3 };
  const seen = new Uint32Array(90);
  for (const id of [1, 2, 50]) seen[id] = 2 ** 31;
  const want: number[] = [];
  for (let step = 0; step < 12; step++) {
    const token = sampleRef(stepLogits(step), { ...options, seed: 3, step, vocabulary: 80 }, { seen });
    seen[token]!++;
    want.push(token);
  }
  assert.deepEqual(await text({ ...options, seed: 3 }, { vocabulary: 80, context: [1, 2, 50, 4000] }), want);
});

test("answers that take turns are the same as alone", async () => {
  const options = [0, 1, 2].map((seed) => ({ temperature: 1, minP: 0.01, frequencyPenalty: 0.5, seed }));
  const alone = [];
  for (const one of options) alone.push(await text(one));
  const samplers = options.map((one) => new Sampler(gpu, one, { columns: 90, vocabulary: 90, context: [1, 2] }));
  const together: number[][] = [[], [], []];
  for (let step = 0; step < 12; step++) {
    const logits = gpu.upload([1, 90], "f32", stepLogits(step));
    const tokens = gpu.scope(() => samplers.map((sampler) => sampler.choose(logits)));
    for (const [i, token] of tokens.entries()) together[i]!.push((await gpu.readU32(token))[0]!);
    gpu.release(logits);
  }
  for (const sampler of samplers) sampler.free();
  assert.deepEqual(together, alone);
});

test("greedy choices are one dispatch, and no choice makes a buffer after the first", async () => {
  const { used } = gpu.memory;
  for (const options of [
    {},
    { temperature: 1, topK: 5, topP: 0.9, presencePenalty: 1, logitBias: { 3: 1 }, logprobs: 3 },
  ]) {
    const sampler = new Sampler(gpu, options, { columns: 90, vocabulary: 90, context: [] });
    const logits = gpu.upload([1, 90], "f32", stepLogits(0));
    await gpu.readU32(sampler.choose(logits));
    const before = [gpu.memory.allocations, gpu.memory.used, gpu.bindGroupsCreated];
    const { dispatches } = gpu;
    await gpu.readU32(sampler.choose(logits));
    assert.deepEqual([gpu.memory.allocations, gpu.memory.used, gpu.bindGroupsCreated], before);
    if (Object.keys(options).length === 0) assert.equal(gpu.dispatches, dispatches + 1);
    sampler.free();
    gpu.release(logits);
  }
  assert.equal(gpu.memory.used, used);
});

test("a mask holds until it is replaced, greedy or not", async () => {
  for (const options of [{}, { temperature: 3, seed: 1 }]) {
    const sampler = new Sampler(gpu, options, { columns: 90, vocabulary: 90, context: [] });
    const free = await choose(sampler, stepLogits(0));
    sampler.mask(Uint32Array.of(0, 0b100)); // 34; shorter than the vocabulary
    assert.equal(await choose(sampler, stepLogits(0)), 34);
    assert.equal(await choose(sampler, stepLogits(1)), 34);
    sampler.mask(Uint32Array.of(0b10, 0, 0, 0xffff));
    assert.equal(await choose(sampler, stepLogits(2)), 1);
    sampler.mask(undefined);
    if (!options.temperature) assert.equal(await choose(sampler, stepLogits(0)), free);
    sampler.free();
  }
});

test("bias bans and forces tokens; no temperature means the likeliest", async () => {
  const greedy = await text({ temperature: 1e-9 }, { steps: 1 });
  assert.deepEqual(greedy, await text({}, { steps: 1 }));
  assert.notEqual((await text({ logitBias: { [greedy[0]!]: Number.NEGATIVE_INFINITY } }, { steps: 1 }))[0], greedy[0]);
  assert.deepEqual(await text({ temperature: 2, logitBias: { 77: Number.POSITIVE_INFINITY } }, { steps: 1 }), [77]);
});

test("log probabilities are those of the model's own logits", async () => {
  const logits = stepLogits(4);
  logits[7] = Number.NEGATIVE_INFINITY;
  const options = { temperature: 0.5, topK: 3, seed: 9, logitBias: { 5: 4 } };
  const sampler = new Sampler(gpu, { ...options, logprobs: 4 }, { columns: 90, vocabulary: 85, context: [] });
  const token = await choose(sampler, logits);
  const found = await sampler.logprobs();
  sampler.free();
  const { ids, logprobs } = logprobsRef(logits, token, 4, 85);
  assert.deepEqual(
    found?.top.map((entry) => entry.token),
    ids.slice(1),
  );
  for (const [i, logprob] of [found!.logprob, ...found!.top.map((entry) => entry.logprob)].entries()) {
    assert.ok(Math.abs(logprob - logprobs[i]!) < 1e-5);
  }
  const few = new Sampler(gpu, { logprobs: 20 }, { columns: 3, vocabulary: 3, context: [] });
  await choose(few, Float32Array.of(0, Number.NEGATIVE_INFINITY, 1));
  assert.deepEqual(
    (await few.logprobs())?.top.map((entry) => entry.token),
    [2, 0, 1],
  );
  assert.equal((await few.logprobs())?.top[2]?.logprob, Number.NEGATIVE_INFINITY);
  few.free();
  const without = new Sampler(gpu, {}, { columns: 3, vocabulary: 3, context: [] });
  assert.equal(await without.logprobs(), undefined);
  without.free();
});

test("options out of range are refused by name", () => {
  const bad: [SamplingOptions, RegExp][] = [
    [{ temperature: -1 }, /temperature: expected a number from 0 to 100, got -1/],
    [{ temperature: Number.NaN }, /temperature/],
    [{ topK: 1.5 }, /topK: expected an integer/],
    [{ topP: 0 }, /topP: expected a number above 0 to 1/],
    [{ minP: 1.1 }, /minP/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty/],
    [{ frequencyPenalty: 3 }, /frequencyPenalty/],
    [{ presencePenalty: -3 }, /presencePenalty/],
    [{ seed: 2 ** 53 }, /seed/],
    [{ logprobs: 21 }, /logprobs/],
    [{ logitBias: { 100: 1 } }, /logitBias: expected token ids from 0 to 99, got 100/],
    [{ logitBias: { 1: Number.NaN } }, /logitBias: token 1/],
  ];
  for (const [options, message] of bad) {
    assert.throws(
      () => checkSampling(options, 100),
      (error) => error instanceof InputError && message.test(error.message),
    );
  }
  checkSampling({ temperature: 0.7, topK: 40, topP: 1, minP: 0, seed: 0, logprobs: 0, logitBias: { 99: -100 } }, 100);
});
