// Conversations with the embedded model. Nothing here knows its answers: only how they must relate to each other.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { defaultModel } from "../src/cli/model.ts";
import { type ChatOptions, type ContentPart, FastVLM, type Message } from "../src/node.ts";
import { resultOf, stagesDuring } from "./answers.ts";

/** Set to hold ten times as many conversations. */
const FULL = process.env.FASTVLM_FULL !== undefined;
const vlm = await FastVLM.load(defaultModel());
after(() => vlm.close());

interface Case {
  readonly images: readonly string[];
  readonly conversations: readonly (readonly { readonly question: string }[])[];
}

const path = (name: string): string => fileURLToPath(new URL(`eval/${name}`, import.meta.url));
const CASES = JSON.parse(readFileSync(path("eval.json"), "utf8")) as Case[];
const pictures = CASES.flatMap(({ images }) => (images.length === 1 ? images : [])).map(path);
const clips = CASES.map(({ images }) => images.filter((name) => name.includes("clip")).map(path)).filter(
  ({ length }) => length >= 6,
);

const image = (file: string): ContentPart => ({ type: "image", image: file });
const video = (frames: readonly string[]): ContentPart => ({ type: "video", video: frames });
const user = (text: string, ...shown: ContentPart[]): Message => ({
  role: "user",
  content: [...shown, { type: "text", text }],
});

const REQUESTS: readonly (readonly [readonly Message[], ChatOptions])[] = [
  [[user("What is in the picture?", image(pictures[0]!))], {}],
  [[user("What is in the second picture?", ...pictures.slice(1, 3).map(image))], {}],
  [[user("What happens in the video?", video(clips[0]!))], {}],
  [[user("Hello. Who are you?")], { temperature: 1, seed: 1 }],
  [[user("Describe the image.", image(pictures[3]!))], { temperature: 1, seed: 2 }],
  [[user("Describe the image.", image(pictures[3]!))], { temperature: 1, topP: 0.9, seed: 3, logprobs: 2 }],
  [[user("What do you see?", ...pictures.slice(4, 12).map(image))], { repetitionPenalty: 1.3, presencePenalty: 1 }],
  [
    [user("Is there a key?", image(pictures[13]!)), { role: "assistant", content: "No." }, user("What is there?")],
    { temperature: 0.7, topK: 20, seed: 4 },
  ],
];

test("eight requests at once answer token for token as one by one, in fewer passes", async () => {
  const ask = ([messages, options]: (typeof REQUESTS)[number]) =>
    resultOf(vlm.chat(messages, { ...options, maxTokens: 24 })).then(({ tokens }) => tokens);
  const single: (readonly number[])[] = [];
  for (const request of REQUESTS) single.push(await ask(request));
  let together: typeof single = [];
  const stages = await stagesDuring(vlm, async () => {
    together = await Promise.all(REQUESTS.map(ask));
  });
  assert.deepEqual(together, single);
  const rows = stages.filter(({ name }) => name === "logits").map((stage) => stage.rows);
  assert.ok(Math.max(...rows) >= 4, `passes of ${rows} rows`);
  assert.ok(rows.length < 0.75 * single.flat().length, `${rows.length} passes for ${single.flat().length} tokens`);
});

test("a follow-up about many pictures reads a tenth of the first prompt at most, and looks at none", async () => {
  const first = [
    { shown: pictures.slice(20, 60).map(image), question: "What is in the third picture?" },
    { shown: clips.slice(0, 10).map(video), question: "What happens in the videos?" },
  ];
  for (const { shown, question } of first) {
    using session = vlm.session({ maxTokens: 12 });
    const { usage } = await resultOf(session.ask([...shown, { type: "text", text: question }]));
    assert.ok(usage.imageTokens >= 40 * 9, `${usage.imageTokens} image tokens`);
    assert.equal(usage.cachedTokens, 0);
    let next = usage;
    const stages = await stagesDuring(vlm, async () => {
      next = (await resultOf(session.ask("And in the last one?"))).usage;
    });
    const read = next.promptTokens - next.cachedTokens;
    assert.ok(read <= 0.1 * usage.promptTokens, `${read} of ${next.promptTokens} tokens were read`);
    assert.ok(!stages.some(({ name }) => name.startsWith("vision.")), "no picture is looked at again");
  }
});

test("a follow-up about one picture reads the question, its markup, and where the answer ended", async () => {
  using session = vlm.session({ maxTokens: 40 });
  const question = "And what is at the top left?";
  await resultOf(session.ask([image(pictures[5]!), { type: "text", text: "What is in the picture?" }]));
  const { usage } = await resultOf(session.ask(question));
  const asked = vlm.tokenizer.encode(question).length;
  const read = usage.promptTokens - usage.cachedTokens;
  assert.ok(read <= asked + 4, `${read} tokens read for ${asked} asked`);
});

test("answers of a session are those of the same messages asked at once", async () => {
  const talks = CASES.filter((_, i) => i % (FULL ? 1 : 15) === 0).slice(0, FULL ? 200 : 20);
  assert.ok(talks.length >= 20);
  for (const [seed, { images, conversations }] of talks.entries()) {
    const sampling = seed % 2 === 0 ? {} : { temperature: 1, seed };
    const options = { ...sampling, maxTokens: 20 };
    using session = vlm.session(options);
    const questions = conversations.flatMap((turns) => turns.map(({ question }) => question)).slice(0, FULL ? 4 : 2);
    for (const [i, text] of questions.entries()) {
      const shown = i === 0 ? images.map((name) => image(path(name))) : [];
      const { tokens } = await resultOf(session.ask([...shown, { type: "text", text }]));
      const afresh = await resultOf(vlm.chat(session.messages.slice(0, -1), options));
      assert.deepEqual(tokens, afresh.tokens, `conversation ${seed}, turn ${i}: ${text}`);
    }
  }
});

test("aborted at 50 points, from reading pictures to the last token: memory is flat and the next answer right", async () => {
  using blind = await FastVLM.load(defaultModel(), { imageCacheBytes: 0 });
  const messages = [user("Describe it.", image(pictures[70]!), video(clips[1]!.slice(0, 2)))];
  /** Asks, and aborts at an event: a look at the signal, or a stage of the computation. */
  const ask = async (abortAt = Number.POSITIVE_INFINITY) => {
    const abort = new AbortController();
    const { signal } = abort;
    let phase = "reading";
    let stopped: string | undefined;
    let events = 0;
    const happen = (): void => {
      if (events++ !== abortAt) return;
      stopped = phase;
      abort.abort();
    };
    signal.throwIfAborted = () => {
      happen();
      if (signal.aborted) throw signal.reason;
    };
    let tokens = 0;
    blind.gpu.recorder = (name) => {
      phase = /^(vision|projector)\./.test(name) ? "looking" : tokens === 0 ? "prefill" : "decoding";
      if (name === "logits") tokens++;
      happen();
    };
    try {
      const { tokens } = await resultOf(blind.chat(messages, { maxTokens: 8, signal }));
      return { events, tokens, stopped };
    } catch (error) {
      if (error !== signal.reason) throw error;
      return { stopped };
    } finally {
      blind.gpu.recorder = null;
    }
  };
  const right = await ask();
  const { used } = blind.gpu.memory;
  const phases = new Set<string | undefined>();
  const { allocated } = blind.gpu.memory;
  for (let i = 0; i < 50; i++) {
    // Every fiftieth of the way has one point, anywhere in it.
    const { stopped } = await ask(Math.floor(((i + Math.random()) / 50) * right.events!));
    phases.add(stopped);
    assert.equal(blind.gpu.memory.used, used, `after abort ${i}, while ${stopped}`);
  }
  assert.deepEqual([...phases], ["reading", "looking", "prefill", "decoding"]);
  assert.ok(blind.gpu.memory.allocated <= allocated, "buffers");
  assert.deepEqual(await ask(), right);
});

test("200 turns of one conversation: memory is bounded", async () => {
  using session = vlm.session({ maxTokens: 2, overflow: "drop-oldest" });
  const turn = (i: number) => {
    const shown = i % 2 === 0 ? [image(pictures[i % 9]!)] : [];
    return resultOf(session.ask([...shown, { type: "text", text: `And ${i}?` }]));
  };
  for (let i = 0; i < 160; i++) await turn(i);
  const { allocated, used } = vlm.gpu.memory;
  for (let i = 160; i < 200; i++) {
    await turn(i);
    assert.ok(vlm.gpu.memory.used <= used, `turn ${i}: tensors in use`);
    assert.ok(vlm.gpu.memory.allocated <= 1.1 * allocated, `turn ${i}: buffers`);
  }
  assert.ok(session.messages.length < 400, "old turns went");
});
