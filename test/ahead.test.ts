// Answers run some tokens ahead of what the host knows. These tests compare them with answers that do not.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { FastVLM, type GenerateOptions } from "../src/node.ts";
import { Generation, leadOn } from "../src/pipeline/generation.ts";
import { Sampler, type SamplingOptions } from "../src/pipeline/sampling.ts";
import { Scheduler } from "../src/pipeline/scheduler.ts";
import { Sequence } from "../src/pipeline/sequence.ts";
import { golden, resultOf, stagesDuring } from "./answers.ts";

const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
const phi = await FastVLM.load(golden("models/phi4_mini_tiny"), { dtype: "f32" });
after(() => {
  vlm.close();
  phi.close();
});

const STOP = vlm.tokenizer.idOf("<|im_end|>") ?? 322;
const scheduler = new Scheduler(vlm.model);

/** Sees no pictures. */
const eyes = { acquire: async () => ({ tokens: new Map(), seen: Promise.resolve() }), release() {} };

interface Setting {
  readonly sampling?: SamplingOptions;
  /** Tokens that are wanted; absent in answers that do not run ahead. */
  readonly maxTokens?: number;
  readonly lead?: number;
  readonly signal?: AbortSignal;
  readonly sequence?: Sequence;
}

/** Begins to answer a context of token ids. */
function begin({ model, gpu }: FastVLM, context: readonly number[], { sampling = {}, ...options }: Setting = {}) {
  const { vocabSize } = model.decoder.config;
  const sequence = options.sequence ?? new Sequence(model);
  sequence.begin(context);
  const sampler = new Sampler(gpu, sampling, { vocabulary: vocabSize, columns: vocabSize, context });
  const by = model === vlm.model ? scheduler : new Scheduler(model);
  return new Generation(sequence, by, { eyes, sampler, ...options });
}

/** Tokens and log probabilities of an answer from its beginning. */
async function answer(model: FastVLM, context: readonly number[], count: number, setting: Setting = {}) {
  const generation = begin(model, context, setting);
  const tokens: number[] = [];
  const logprobs: unknown[] = [];
  while (tokens.length < count) {
    tokens.push(await generation.next());
    logprobs.push(generation.logprobs);
  }
  generation.free();
  generation.sequence.free();
  return { tokens, logprobs };
}

const prompt = (length: number, first = 7): number[] => Array.from({ length }, (_, i) => 10 + ((first + 37 * i) % 300));

/** One token is what a CPU adapter runs ahead; GPUs, more. */
const LEADS = [1, 2, 3];

describe("an answer that runs ahead is the same", () => {
  const samplings: Record<string, SamplingOptions> = {
    greedy: {},
    sampled: { temperature: 1, topP: 0.95, seed: 3 },
    "with penalties": {
      repetitionPenalty: 1.3,
      frequencyPenalty: 0.4,
      presencePenalty: 0.2,
      temperature: 0.8,
      seed: 1,
    },
    "with log probabilities": { logprobs: 3, temperature: 1, seed: 9 },
  };
  for (const [name, sampling] of Object.entries(samplings)) {
    test(name, async () => {
      const known = await answer(vlm, prompt(9), 20, { sampling });
      for (const lead of LEADS)
        assert.deepEqual(await answer(vlm, prompt(9), 20, { sampling, maxTokens: 20, lead }), known, `lead ${lead}`);
      assert.equal(known.logprobs[0] !== undefined, sampling.logprobs !== undefined);
    });
  }

  test("where the cache grows", async () => {
    const known = await answer(vlm, prompt(250), 12);
    for (const lead of LEADS)
      assert.deepEqual(await answer(vlm, prompt(250), 12, { maxTokens: 12, lead }), known, `lead ${lead}`);
  });

  test("where LongRoPE's factors switch: all is read again with the token that is known by then", async () => {
    const { original } = phi.model.decoder.config.longRope!;
    for (let before = 0; before < 5; before++) {
      const known = await answer(phi, prompt(original - before), 8);
      for (const lead of LEADS) {
        const ahead = await answer(phi, prompt(original - before), 8, { maxTokens: 8, lead });
        assert.deepEqual(ahead, known, `${before} before, lead ${lead}`);
      }
    }
  });
});

test("the pass that reads a token is submitted before the host knows the token, and none after the last", async () => {
  const passes = async (options: Partial<GenerateOptions>): Promise<number[]> => {
    const seen: number[] = [];
    let submits = vlm.gpu.submits;
    const stages = await stagesDuring(vlm, async () => {
      for await (const { token } of vlm.generate({ prompt: "Count.", maxTokens: 6, ...options })) {
        if (token === undefined) continue;
        seen.push(vlm.gpu.submits - submits);
        submits = vlm.gpu.submits;
      }
    });
    assert.equal(stages.filter(({ name }) => name === "logits").length, 6, "a pass for each token");
    return seen.slice(1);
  };
  await passes({}); // makes what is made once
  const expected = leadOn(vlm.gpu.adapter) === 1 ? [1, 1, 1, 1, 0] : [2, 1, 1, 0, 0];
  assert.deepEqual(await passes({}), expected);
  assert.deepEqual(await passes({ temperature: 1, seed: 4 }), expected);
});

test("the lead grows by one with every token, and shrinks at the end of what is wanted", async () => {
  const submitted = async (lead: number): Promise<number[]> => {
    const generation = begin(vlm, prompt(5), { maxTokens: 8, lead });
    const begun: number[] = [];
    for (let i = 0; i < 8; i++) {
      await generation.next();
      begun.push(generation.sequence.cache.length - 4);
    }
    generation.free();
    generation.sequence.free();
    return begun;
  };
  assert.deepEqual(await submitted(1), [2, 3, 4, 5, 6, 7, 8, 8]);
  assert.deepEqual(await submitted(2), [2, 4, 5, 6, 7, 8, 8, 8]);
  assert.deepEqual(await submitted(3), [2, 4, 6, 7, 8, 8, 8, 8]);
});

test("answers of a format, and traces, wait for every token", async () => {
  const format = { type: "regex", pattern: "[a-z]{40}" } as const;
  for (const options of [{ format }, { trace: true }]) {
    let [passes, tokens] = [0, 0];
    const { mark } = vlm.gpu;
    vlm.gpu.mark = (name, tensor) => {
      if (name === "logits") passes++;
      return mark.call(vlm.gpu, name, tensor);
    };
    try {
      for await (const { token } of vlm.generate({ prompt: "Hi.", maxTokens: 5, ...options }))
        if (token !== undefined) assert.equal(passes, ++tokens);
    } finally {
      vlm.gpu.mark = mark;
    }
    assert.equal(tokens, 5);
  }
});

describe("an answer that ends early", () => {
  const context = prompt(12);

  for (const lead of LEADS)
    test(`at any token, lead ${lead}: the cache is as if nothing had run ahead, and the conversation goes on`, async () => {
      const { tokens } = await answer(vlm, context, 10);
      const { used } = vlm.gpu.memory;
      for (let stop = 1; stop <= 9; stop++) {
        const first = begin(vlm, context, { maxTokens: 10, lead });
        const { sequence } = first;
        for (let i = 0; i < stop; i++) assert.equal(await first.next(), tokens[i]);
        const ahead = Math.min(lead, stop, 10 - stop);
        assert.equal(sequence.cache.length, context.length + stop - 1 + ahead, "it ran ahead");
        first.free();
        assert.equal(sequence.cache.length, context.length + stop - 1);
        assert.equal(sequence.length, context.length + stop);
        const rest = [...context, ...tokens.slice(0, stop)];
        const again = begin(vlm, rest, { sequence, maxTokens: 10 - stop, lead });
        assert.equal(sequence.unread, 1, "all but the last token is known");
        assert.equal(await again.next(), tokens[stop]);
        again.free();
        sequence.free();
      }
      assert.equal(vlm.gpu.memory.used, used);
    });

  test("by an abort, while a token is on its way", async () => {
    const { used } = vlm.gpu.memory;
    for (let after = 1; after <= 4; after++) {
      const abort = new AbortController();
      const generation = begin(vlm, context, { maxTokens: 9, lead: after, signal: abort.signal });
      for (let i = 0; i < after; i++) await generation.next();
      const next = generation.next();
      abort.abort("enough");
      await assert.rejects(next, (reason) => reason === "enough");
      generation.free();
      const { sequence } = generation;
      assert.equal(sequence.cache.length, sequence.length - 1);
      const known = await answer(vlm, [...context, 99], 3);
      const other = begin(vlm, [...context, 99], { sequence, maxTokens: 3 });
      assert.deepEqual([await other.next(), await other.next(), await other.next()], known.tokens);
      other.free();
      sequence.free();
    }
    assert.equal(vlm.gpu.memory.used, used);
  });

  test("by the end of the model while a pass runs: nothing is left waiting", async () => {
    using own = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
    for await (const { token } of own.generate({ prompt: "Hi.", maxTokens: 9 })) if (token !== undefined) break;
  });
});

test("a failure behind a token that runs ahead is thrown, and the cache is not trusted", async () => {
  const generation = begin(vlm, prompt(5), { maxTokens: 9, lead: 1 });
  await generation.next();
  const { readU32 } = vlm.gpu;
  vlm.gpu.readU32 = async () => {
    throw new Error("lost");
  };
  try {
    await generation.next(); // what was on its way arrives
    await assert.rejects(generation.next(), /lost/);
  } finally {
    vlm.gpu.readU32 = readU32;
  }
  assert.equal(generation.sequence.cache.length, 0);
  generation.free();
  generation.sequence.free();
});

test("those that run ahead and those that do not share passes, and each answers as alone", async () => {
  const requests: GenerateOptions[] = [
    { prompt: "One.", maxTokens: 12 },
    { prompt: "Two.", maxTokens: 12, format: { type: "regex", pattern: "[a-z ]{60}" } },
    { prompt: "Three.", maxTokens: 9, temperature: 1, seed: 2, logprobs: 1 },
    { prompt: "Four.", maxTokens: 1 },
  ];
  const alone: unknown[] = [];
  for (const request of requests) alone.push((await resultOf(vlm.generate(request))).tokens);
  let together: unknown[] = [];
  const stages = await stagesDuring(vlm, async () => {
    const results = await Promise.all(requests.map((request) => resultOf(vlm.generate(request))));
    together = results.map(({ tokens }) => tokens);
  });
  assert.deepEqual(together, alone);
  const sizes = stages.filter(({ name }) => name === "logits").map(({ rows }) => rows);
  assert.ok(sizes.filter((rows) => rows === 3).length >= 5, `batches of ${sizes}`);
});

test("answers of different leads share passes, and each answers as alone", async () => {
  const contexts = [3, 4, 6, 9].map((length) => prompt(length, length));
  const known: unknown[] = [];
  for (const context of contexts) known.push(await answer(vlm, context, 10));
  const leads = [undefined, 1, 2, 3];
  const before = scheduler.sharedSteps;
  const together = await Promise.all(
    contexts.map((context, i) => {
      const lead = leads[i];
      return answer(vlm, context, 10, lead === undefined ? {} : { lead, maxTokens: 10 });
    }),
  );
  assert.deepEqual(together, known);
  assert.ok(scheduler.sharedSteps >= before + 6);
});

test("a stop token ends an answer that has run past it, wherever it comes, and the next question is not disturbed", async () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 12; seed++) {
    const options = { temperature: 1, seed, logitBias: { [STOP]: 4.5 }, maxTokens: 12 };
    const traced = await resultOf(vlm.generate({ prompt: "Hi.", trace: true, ...options }));
    using session = vlm.session(options);
    const { tokens, finishReason } = await resultOf(session.ask("Hi."));
    assert.deepEqual(tokens, traced.tokens);
    assert.equal(finishReason, tokens.at(-1) === STOP ? "stop" : "length");
    lengths.add(tokens.length);
    const more = await resultOf(session.ask("More?"));
    assert.deepEqual(more.tokens, (await resultOf(vlm.chat(session.messages.slice(0, -1), options))).tokens);
  }
  assert.ok(lengths.size >= 4, `lengths ${[...lengths]}`);
});
