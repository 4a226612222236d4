import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { type AnswerFormat, ContextError, FastVLM, InputError, type Message, type Progress } from "../src/node.ts";
import { StopTexts } from "../src/pipeline/stop_texts.ts";
import { golden, grey, resultOf, stagesDuring } from "./answers.ts";

const PICTURE = golden("preprocess/exif_6.jpg");
/** Nothing is kept of an image, so that every answer looks at it. */
const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32", imageCacheBytes: 0 });
after(() => vlm.close());

const about = (text: string): Message => ({
  role: "user",
  content: [
    { type: "image", image: PICTURE },
    { type: "text", text },
  ],
});

test("generate is chat with one message", async () => {
  const options = { maxTokens: 6 };
  const chat = await resultOf(vlm.chat([{ role: "system", content: "Short." }, about("What?")], options));
  const generate = await resultOf(vlm.generate({ images: [PICTURE], prompt: "What?", system: "Short.", ...options }));
  assert.deepEqual(chat.tokens, generate.tokens);
  assert.deepEqual(chat.usage, generate.usage);
  assert.equal(chat.usage.cachedTokens, 0);
});

test("images stand in any turn, any number of them, in order", async () => {
  const ask = async (first: number, second: number): Promise<readonly number[]> => {
    const messages: Message[] = [
      { role: "user", content: [{ type: "image", image: grey(first) }] },
      { role: "assistant", content: "Grey." },
      {
        role: "user",
        content: [
          { type: "image", image: grey(second) },
          { type: "image", image: grey(first) },
          { type: "text", text: "And these?" },
        ],
      },
    ];
    const { tokens, usage } = await resultOf(vlm.chat(messages, { maxTokens: 12 }));
    assert.equal(usage.imageTokens, 27);
    return tokens;
  };
  const [ab, ba] = [await ask(10, 250), await ask(250, 10)];
  assert.deepEqual(await ask(10, 250), ab);
  assert.notDeepEqual(ba, ab);
});

test("a path, a data URL and OpenAI's image_url are one picture", async () => {
  const url = `data:image/jpeg;base64,${readFileSync(PICTURE).toString("base64")}`;
  const answers = await Promise.all(
    (
      [
        { type: "image", image: PICTURE },
        { type: "image", image: url },
        { type: "image_url", image_url: { url } },
        { type: "image_url", image_url: { url: PICTURE } },
      ] as const
    ).map((part) => resultOf(vlm.chat([{ role: "user", content: [part] }], { maxTokens: 6 }))),
  );
  for (const { tokens } of answers) assert.deepEqual(tokens, answers[0]!.tokens);
});

test("a video is its frames in order, seen in batches, with as many tokens as asked for", async () => {
  const shades = [0, 80, 160, 240];
  const text = { type: "text", text: "What happens?" } as const;
  const ask = (...parts: Exclude<Message["content"], string>) =>
    resultOf(vlm.chat([{ role: "user", content: [...parts, text] }], { maxTokens: 6 }));
  const images = await ask(...shades.map((shade) => ({ type: "image" as const, image: grey(shade) })));
  const clip = { type: "video", video: shades.map(grey) } as const;
  let video = images;
  const stages = await stagesDuring(vlm, async () => {
    video = await ask(clip);
  });
  assert.deepEqual(video.tokens, images.tokens);
  assert.deepEqual(
    stages.filter(({ name }) => name === "vision.features").map(({ rows }) => rows),
    [4],
  );
  assert.equal((await ask({ ...clip, frames: 2, tokensPerFrame: 4 })).usage.imageTokens, 8);
  const timed = await ask({ ...clip, timestamps: true });
  assert.ok(timed.usage.promptTokens > video.usage.promptTokens);
  await assert.rejects(ask({ ...clip, tokensPerFrame: 5 }), InputError);
});

test("a seed fixes what a temperature draws", async () => {
  const draw = async (seed: number) => {
    const options = { temperature: 1.5, topP: 0.95, seed, maxTokens: 12, logprobs: 2 };
    return (await resultOf(vlm.chat([about("Well?")], options))).tokens;
  };
  const [first, other] = [await draw(7), await draw(8)];
  assert.deepEqual(await draw(7), first);
  assert.notDeepEqual(other, first);
});

test("an answer has the form that was asked for, those that overlap each its own", async () => {
  const ask = (format: AnswerFormat) => resultOf(vlm.chat([about("Well?")], { format, maxTokens: 60 }));
  const [choice, number, free] = await Promise.all([
    ask({ type: "choice", choices: ["yes", "no", "perhaps"] }),
    ask({ type: "regex", pattern: "[0-9]{3}-[a-f]{2}" }),
    resultOf(vlm.chat([about("Well?")], { maxTokens: 9 })),
  ]);
  assert.ok(["yes", "no", "perhaps"].includes(choice.text), choice.text);
  assert.match(number.text, /^[0-9]{3}-[a-f]{2}$/);
  assert.equal(number.finishReason, "stop");
  assert.deepEqual(free.tokens, (await resultOf(vlm.chat([about("Well?")], { maxTokens: 9 }))).tokens);
  await assert.rejects(ask({ type: "choice", choices: [] }), InputError);
});

test("malformed messages and options are refused by name", async () => {
  const refused = async (messages: unknown, options: object, pattern: RegExp): Promise<void> => {
    await assert.rejects(resultOf(vlm.chat(messages as Message[], options)), (error: Error) => {
      assert.ok(error instanceof InputError, String(error));
      assert.match(error.message, pattern);
      return true;
    });
  };
  await refused("Hi", {}, /messages: expected a list/);
  await refused([], {}, /messages/);
  await refused([{ role: "user" }], {}, /messages\[0\]\.content/);
  await refused([{ role: "robot", content: "Hi" }], {}, /messages\[0\]\.role/);
  await refused([{ role: "user", content: [{ type: "sound" }] }], {}, /messages\[0\]\.content\[0\].*"sound"/);
  await refused([{ role: "user", content: [{ type: "image", image: "data:nothing" }] }], {}, /data:image/);
  await refused([about("Hi")], { stop: [""] }, /stop/);
  await refused([about("Hi")], { temperature: -1 }, /temperature/);
});

test("a context that is too small is said with both numbers, and before any GPU work", async () => {
  const { dispatches } = vlm.gpu;
  await assert.rejects(
    resultOf(vlm.chat([about("Hi")], { maxTokens: 1020 })),
    (error: Error) => error instanceof ContextError && /\d+ tokens .* 1020: .* 1024 together/.test(error.message),
  );
  assert.equal(vlm.gpu.dispatches, dispatches);
});

test("progress reaches its totals", async () => {
  const seen: Progress[] = [];
  await resultOf(vlm.chat([about("Hi")], { maxTokens: 1, onProgress: (progress) => seen.push(progress) }));
  const last = (stage: string) => seen.findLast((progress) => progress.stage === stage);
  assert.deepEqual(last("images"), { stage: "images", done: 1, total: 1 });
  const prefill = last("prefill")!;
  assert.equal(prefill.done, prefill.total);
});

test("stop texts: split anywhere, they end the text and are not part of it", () => {
  const whole = "one two STOP three";
  for (let size = 1; size <= whole.length; size++) {
    const stops = new StopTexts(["STOP", "two STOPS", "SON"]);
    let text = "";
    for (let at = 0; at < whole.length; at += size) text += stops.push(whole.slice(at, at + size));
    assert.equal(text + stops.flush(), "one two ", `pieces of ${size}`);
    assert.ok(stops.found);
  }
  const never = new StopTexts("tail!");
  assert.equal(never.push("a ta"), "a ");
  assert.equal(never.push("il"), "");
  assert.equal(never.flush(), "tail");
  assert.equal(never.found, false);
});

test("a stop text split over tokens stops the answer", async () => {
  const messages = [about("Tell.")];
  const free = await resultOf(vlm.chat(messages, { maxTokens: 24 }));
  const pieces: { text: string; token?: number }[] = [];
  for await (const piece of vlm.chat(messages, { maxTokens: 24 })) pieces.push(piece);
  // The end of one token's text and the beginning of the next one's.
  const at = pieces.findIndex(({ text }, i) => i > 2 && text !== "" && (pieces[i + 1]?.text ?? "") !== "");
  assert.ok(at > 0);
  const stop = pieces[at]!.text.slice(-1) + pieces[at + 1]!.text.slice(0, 1);
  const stopped = await resultOf(vlm.chat(messages, { maxTokens: 24, stop: ["never in the text", stop] }));
  assert.equal(stopped.finishReason, "stop");
  assert.equal(stopped.text, free.text.slice(0, free.text.indexOf(stop)));
  assert.ok(stopped.tokens.length <= at + 2);
  assert.deepEqual(stopped.tokens, free.tokens.slice(0, stopped.tokens.length));
});

test("aborted at 50 points, memory is flat and the next answer right", async () => {
  const messages = [about("Stop me."), { role: "assistant" as const, content: "No." }, about("Stop!")];
  const ask = (signal?: AbortSignal) => resultOf(vlm.chat(messages, { maxTokens: 10, signal }));
  const right = await ask();
  const { used } = vlm.gpu.memory;
  // The points are the stages of the computation: of the tower, of the prompt's layers, of each token's.
  const { length } = await stagesDuring(vlm, () => ask());
  for (let i = 0; i < 50; i++) {
    const abort = new AbortController();
    let stages = 0;
    vlm.gpu.recorder = () => {
      if (stages++ === Math.floor((i * length) / 50)) abort.abort();
    };
    await assert.rejects(ask(abort.signal), { name: "AbortError" });
    vlm.gpu.recorder = null;
    assert.equal(vlm.gpu.memory.used, used, `after abort ${i}`);
  }
  assert.deepEqual((await ask()).tokens, right.tokens);
});

test("every step of the way looks at the signal", async () => {
  const { used } = vlm.gpu.memory;
  for (const stage of ["images", "prefill"] as const) {
    const abort = new AbortController();
    const onProgress = (progress: Progress): void => {
      if (progress.stage === stage) abort.abort();
    };
    const { dispatches } = vlm.gpu;
    await assert.rejects(resultOf(vlm.chat([about("Hi")], { signal: abort.signal, onProgress })), {
      name: "AbortError",
    });
    if (stage === "images") assert.equal(vlm.gpu.dispatches, dispatches);
    assert.equal(vlm.gpu.memory.used, used);
  }
});
