import assert from "node:assert/strict";
import { after, test } from "node:test";
import { KvCache } from "../src/models/decoder/kv_cache.ts";
import { FastVLM, type GenerateOptions } from "../src/node.ts";
import { golden, grey, resultOf, stagesDuring } from "./answers.ts";
import { gpu } from "./gpu.ts";

const PICTURE = golden("preprocess/exif_6.jpg");
const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
after(() => vlm.close());

const REQUESTS: readonly GenerateOptions[] = [
  { prompt: "What is in this picture?", images: [PICTURE], maxTokens: 12 },
  { prompt: "Count to a hundred, please, and do not stop before you are there.", maxTokens: 20 },
  { prompt: "?", maxTokens: 1 },
  { prompt: "Compare.", images: [grey(3), grey(200)], maxTokens: 9 },
  { prompt: "Say something.", maxTokens: 16, temperature: 1, seed: 5 },
  { prompt: "Say something.", maxTokens: 16, temperature: 1, seed: 6 },
  { prompt: "Repeat nothing.", maxTokens: 14, repetitionPenalty: 1.5, presencePenalty: 1 },
  { prompt: "a ".repeat(100), maxTokens: 6, logprobs: 2 },
];

const batchSizes = async (body: () => Promise<unknown>): Promise<number[]> =>
  (await stagesDuring(vlm, body)).filter(({ name }) => name === "logits").map(({ rows }) => rows);

test("eight at once answer token for token as one by one, and are decoded together", async () => {
  const single: (readonly number[])[] = [];
  for (const request of REQUESTS) single.push((await resultOf(vlm.generate(request))).tokens);
  assert.equal(new Set(single.map(String)).size, REQUESTS.length, "eight different answers");
  let together: (readonly number[])[] = [];
  const sizes = await batchSizes(async () => {
    const results = await Promise.all(REQUESTS.map((request) => resultOf(vlm.generate(request))));
    together = results.map(({ tokens }) => tokens);
  });
  assert.deepEqual(together, single);
  assert.ok(Math.max(...sizes) >= 6, `batches of ${sizes}`);
  // 8 prefills, and then as many steps as the longest answer takes, but for those before everyone has joined.
  assert.ok(sizes.length <= 8 + 20 + 8, `${sizes.length} passes`);
});

test("answers join and leave at any step, by a break, a stop text or an abort too", async () => {
  const alone = await resultOf(vlm.generate(REQUESTS[1]!));
  const { used } = vlm.gpu.memory;
  const abort = new AbortController();
  let others: Promise<unknown>[] = [];
  let at = 0;
  for await (const piece of vlm.generate(REQUESTS[1]!)) {
    if (piece.token !== undefined) assert.equal(piece.token, alone.tokens[at++]);
    if (at === 3) {
      const broken = (async () => {
        for await (const { token } of vlm.generate(REQUESTS[4]!)) if (token !== undefined) break;
      })();
      const stopped = resultOf(vlm.generate({ ...REQUESTS[0]!, stop: ["e", "a", "1"] }));
      const aborted = assert.rejects(resultOf(vlm.generate({ ...REQUESTS[3]!, signal: abort.signal })));
      others = [broken, stopped, aborted];
    }
    if (at === 6) abort.abort();
    if (at === 8) others.push(resultOf(vlm.generate(REQUESTS[7]!)));
  }
  await Promise.all(others);
  assert.equal(at, alone.tokens.length);
  assert.equal(vlm.gpu.memory.used, used);
});

test("one whose reader is slow holds nobody up", async () => {
  const slow = vlm.generate({ prompt: "Slow", maxTokens: 30 });
  await slow.next();
  const quick = await resultOf(vlm.generate(REQUESTS[1]!));
  assert.equal(quick.tokens.length, 20);
  const rest = await resultOf(slow);
  assert.equal(rest.tokens.length, 30);
});

test("chats, sessions, aborts and traces that overlap do not disturb each other", async () => {
  const conversation = async (): Promise<(readonly number[])[]> => {
    using session = vlm.session({ maxTokens: 6 });
    const first = await resultOf(session.ask([{ type: "image", image: PICTURE }]));
    return [first.tokens, (await resultOf(session.ask("More."))).tokens];
  };
  const traced = () => resultOf(vlm.generate({ ...REQUESTS[0]!, trace: true }));
  const right = [await conversation(), await traced(), await resultOf(vlm.generate(REQUESTS[1]!))] as const;
  const [a, b, trace, text] = await Promise.all([
    conversation(),
    conversation(),
    traced(),
    resultOf(vlm.generate(REQUESTS[1]!)),
  ]);
  assert.deepEqual(a, right[0]);
  assert.deepEqual(b, right[0]);
  assert.deepEqual(text.tokens, right[2].tokens);
  assert.deepEqual(trace.tokens, right[1].tokens);
  assert.deepEqual(trace.trace, right[1].trace, "a trace holds its own answer's stages alone");
});

test("a step of a batch that stays makes no buffer and no bind group", async () => {
  const counts: number[][] = [];
  await Promise.all(
    [0, 1, 2].map(async (i) => {
      for await (const { token } of vlm.generate({ prompt: `Count. ${i}`, maxTokens: 16 })) {
        if (i === 0 && token !== undefined) counts.push([vlm.gpu.memory.allocations, vlm.gpu.bindGroupsCreated]);
      }
    }),
  );
  // Before the last token the others' next step has begun without it.
  for (const count of counts.slice(8, -1)) assert.deepEqual(count, counts[8]);
});

test("a cache grows in steps and keeps what it holds", async () => {
  const config = { ...vlm.model.decoder.config, layers: 2, kvHeads: 1, headDim: 4, maxPositions: 1000 };
  const cache = new KvCache(gpu, config, 0, "f32");
  assert.equal(cache.bytes, 0);
  cache.reserve(3);
  assert.equal(cache.capacity, 256);
  const bytes = Float32Array.from({ length: 256 * 4 }, (_, i) => i);
  gpu.write(cache.layer(1).values, 0, new Uint8Array(bytes.buffer));
  cache.length = 256;
  const { allocations } = gpu.memory;
  cache.reserve(256);
  assert.equal(gpu.memory.allocations, allocations);
  cache.reserve(257);
  assert.equal(cache.capacity, 512);
  cache.reserve(513);
  assert.equal(cache.capacity, 768);
  cache.reserve(900);
  assert.equal(cache.capacity, 1000, "never past the context");
  assert.deepEqual((await gpu.read(cache.layer(1).values)).subarray(0, 1024), bytes);
  cache.free();
  assert.equal(cache.capacity, 0);
});

test("an answer that outgrows its cache is the same as with room from the start", async () => {
  const request = { prompt: "b ".repeat(190), maxTokens: 60 };
  const { tokens, usage } = await resultOf(vlm.generate(request));
  assert.ok(usage.promptTokens < 256 && usage.promptTokens + 60 > 256, `${usage.promptTokens} tokens`);
  const { reserve } = KvCache.prototype;
  KvCache.prototype.reserve = function (length) {
    reserve.call(this, Math.max(length, 600));
  };
  try {
    assert.deepEqual((await resultOf(vlm.generate(request))).tokens, tokens);
  } finally {
    KvCache.prototype.reserve = reserve;
  }
});
