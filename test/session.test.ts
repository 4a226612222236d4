import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ContextError, FastVLM, ImageError, InputError, type Message } from "../src/node.ts";
import { type ContextItem, Sequence } from "../src/pipeline/sequence.ts";
import { golden, grey, resultOf, stagesDuring } from "./answers.ts";

const PICTURE = golden("preprocess/exif_6.jpg");
const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
after(() => vlm.close());

const LONG = "Here is a long story about a picture. ".repeat(30);
const showing = (...images: readonly (string | ReturnType<typeof grey>)[]) =>
  images.map((image) => ({ type: "image" as const, image }));

test("a follow-up reads only what is new, and looks at no image again", async () => {
  using session = vlm.session({ maxTokens: 5 });
  const first = await resultOf(session.ask([...showing(PICTURE, grey(99)), { type: "text", text: LONG }]));
  assert.equal(first.usage.cachedTokens, 0);
  let second = first;
  const stages = await stagesDuring(vlm, async () => {
    second = await resultOf(session.ask("And now?"));
  });
  const { promptTokens, cachedTokens, imageTokens } = second.usage;
  assert.ok(promptTokens > first.usage.promptTokens);
  assert.ok(promptTokens - cachedTokens <= 0.1 * first.usage.promptTokens, `${cachedTokens} of ${promptTokens} cached`);
  assert.equal(imageTokens, 18);
  assert.deepEqual(
    stages.filter(({ name }) => name.startsWith("vision.")),
    [],
  );
  const afresh = await resultOf(vlm.chat(session.messages.slice(0, -1), { maxTokens: 5 }));
  assert.deepEqual(second.tokens, afresh.tokens);
  assert.equal(afresh.usage.promptTokens, promptTokens);
});

test("the answer's own tokens are in the cache, but for the last", async () => {
  using session = vlm.session({ maxTokens: 8 });
  const first = await resultOf(session.ask("Count to ten."));
  // What the model said and what its text is encoded as may differ; as far as they agree, nothing is read again.
  const [opening] = session.messages;
  const prompt = vlm.tokenizer.encode(first.text);
  const agree = prompt.findIndex((id, i) => id !== first.tokens[i]);
  const { usage } = await resultOf(session.ask("Go on."));
  const said = Math.min(first.tokens.length - 1, agree < 0 ? prompt.length : agree);
  assert.equal(opening!.content, "Count to ten.");
  assert.ok(usage.cachedTokens >= first.usage.promptTokens + said - 1, `${usage.cachedTokens} tokens cached`);
});

test("what is kept is the common beginning, in which pictures are compared by content", () => {
  const sequence = new Sequence(vlm.model);
  const picture = (key: string) => ({ key, tokens: 9 });
  const begin = (...context: ContextItem[]): number => {
    const kept = sequence.begin(context);
    sequence.cache.length = sequence.length; // as if it had been read
    return kept;
  };
  assert.equal(begin(1, picture("a"), 2, 3), 0);
  assert.equal(begin(1, picture("a"), 2, 3, 4), 12);
  assert.equal(begin(1, picture("a"), 2, 5), 11);
  assert.equal(begin(1, picture("b"), 2, 5), 1);
  assert.equal(begin(1, picture("b"), 2, 5), 11, "the last token is read again: it brings the next one");
  assert.equal(begin(1, picture("b")), 9, "even when it is one of an image's");
  assert.equal(begin(2, picture("b")), 0);
  sequence.push(7);
  assert.equal(sequence.unread, 1);
  assert.deepEqual(sequence.unreadSlots(), []);
});

test("a picture seen in one conversation is known in the others, whatever it is called", async () => {
  const look = (image: string | ReturnType<typeof grey>) =>
    stagesDuring(vlm, async () => {
      using session = vlm.session({ maxTokens: 1 });
      await resultOf(session.ask(showing(image)));
    });
  const looked = (stages: { name: string }[]) => stages.some(({ name }) => name === "vision.features");
  assert.ok(looked(await look(grey(41))));
  assert.ok(!looked(await look(grey(41))));
  assert.ok(looked(await look(grey(42))));
});

test("the image cache is bounded in bytes, and what it has lost is looked at again when needed", async () => {
  const bytes = 9 * 96 * 4;
  using small = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32", imageCacheBytes: 2 * bytes });
  const session = small.session({ maxTokens: 2 });
  await resultOf(session.ask([...showing(grey(0)), { type: "text", text: "A" }]));
  const { used } = small.gpu.memory;
  for (let shade = 1; shade < 6; shade++) await resultOf(session.ask(showing(grey(shade))));
  assert.ok(small.gpu.memory.used <= used + 4096, "no more than two pictures are kept");
  const messages = session.messages.slice();
  session.close();
  const again = small.session({ messages, maxTokens: 4 });
  let result: Awaited<ReturnType<typeof resultOf>> | undefined;
  const stages = await stagesDuring(small, async () => {
    result = await resultOf(again.ask("Which was the first?"));
  });
  const seen = stages.filter(({ name }) => name === "vision.features").reduce((sum, { rows }) => sum + rows, 0);
  assert.ok(seen >= 4, "pictures that were lost");
  const question: Message = { role: "user", content: "Which was the first?" };
  assert.deepEqual(result!.tokens, (await resultOf(vlm.chat([...messages, question], { maxTokens: 4 }))).tokens);
});

test("a turn is kept from its first piece on; what fails before leaves no trace", async () => {
  using session = vlm.session({ messages: [{ role: "system", content: "Be kind." }], maxTokens: 6 });
  await resultOf(session.ask("One?"));
  const before = session.messages;
  assert.equal(before.length, 3);
  await assert.rejects(resultOf(session.ask("Two?", { maxTokens: 2000 })), ContextError);
  await assert.rejects(resultOf(session.ask([{ type: "image", image: new Uint8Array(3) }])), ImageError);
  await assert.rejects(resultOf(session.ask("Two?", { signal: AbortSignal.abort() })), { name: "AbortError" });
  assert.deepEqual(session.messages, before);
  const abort = new AbortController();
  let text = "";
  const talk = async (): Promise<void> => {
    for await (const piece of session.ask("Two?", { signal: abort.signal })) {
      text += piece.text;
      if (text.length > 3) abort.abort();
    }
  };
  await assert.rejects(talk(), { name: "AbortError" });
  assert.deepEqual(session.messages.slice(3), [
    { role: "user", content: "Two?" },
    { role: "assistant", content: text },
  ]);
  for await (const _ of session.ask("Three?")) break; // leaves the loop early
  const next = await resultOf(session.ask("Four?"));
  assert.deepEqual(next.tokens, (await resultOf(vlm.chat(session.messages.slice(0, -1), { maxTokens: 6 }))).tokens);
});

test("one answer at a time; reset begins anew; a closed session frees everything", async () => {
  const { used } = vlm.gpu.memory;
  const session = vlm.session({ messages: [{ role: "system", content: "Be kind." }], maxTokens: 4 });
  const first = await resultOf(session.ask("One?"));
  const running = session.ask("Two?");
  await running.next();
  await assert.rejects(resultOf(session.ask("Three?")), InputError);
  assert.throws(() => session.reset(), InputError);
  await running.return();
  session.reset();
  assert.equal(session.messages.length, 1);
  assert.deepEqual((await resultOf(session.ask("One?"))).tokens, first.tokens);
  const last = session.ask("Two?");
  await last.next();
  session.close();
  await assert.rejects(last.next(), InputError);
  await assert.rejects(resultOf(session.ask("Three?")), InputError);
  assert.equal(vlm.gpu.memory.used, used);
});

test("a full context: an error, or the oldest turns go", async () => {
  using strict = vlm.session({ maxTokens: 20 });
  using forgetful = vlm.session({
    messages: [{ role: "system", content: "Be kind." }],
    maxTokens: 20,
    overflow: "drop-oldest",
  });
  assert.throws(() => vlm.session({ overflow: "no" as "error" }), InputError);
  const part = LONG.slice(0, 500);
  const talk = async (session: typeof strict): Promise<void> => {
    for (let i = 0; i < 8; i++) await resultOf(session.ask(`${i}: ${part}`));
  };
  await assert.rejects(talk(strict), ContextError);
  await talk(forgetful);
  const [system, oldest, ...rest] = forgetful.messages;
  assert.equal(system!.content, "Be kind.");
  assert.equal(oldest!.role, "user");
  assert.notEqual(oldest!.content, `0: ${part}`);
  assert.equal(rest.at(-2)!.content, `7: ${part}`);
  await assert.rejects(resultOf(forgetful.ask(LONG.repeat(4))), ContextError);
});

test("200 turns, a picture in each: memory is bounded", async () => {
  using session = vlm.session({ maxTokens: 1, overflow: "drop-oldest" });
  const turn = (i: number) => resultOf(session.ask([...showing(grey(i % 7)), { type: "text", text: `${i}?` }]));
  for (let i = 0; i < 60; i++) await turn(i);
  const { allocated, used } = vlm.gpu.memory;
  for (let i = 60; i < 200; i++) await turn(i);
  assert.ok(vlm.gpu.memory.used <= used, "tensors in use");
  assert.ok(vlm.gpu.memory.allocated <= 1.1 * allocated, "buffers");
});

test("LongRoPE's switch inside a conversation: as if all of it were asked at once", async () => {
  using phi = await FastVLM.load(golden("models/phi4_mini_tiny"), { dtype: "f32" });
  using session = phi.session({ maxTokens: 12 });
  const { original } = phi.model.decoder.config.longRope!;
  const lengths: number[] = [];
  for (const question of ["Hi.", "And?", "Tell me more of it, please.", "Go on then, I listen to you.", "Really?"]) {
    const { tokens, usage } = await resultOf(session.ask(question));
    const afresh = await resultOf(phi.chat(session.messages.slice(0, -1), { maxTokens: 12 }));
    assert.deepEqual(tokens, afresh.tokens, question);
    lengths.push(usage.promptTokens);
    // Keys rotated with the short factors must not be used by a prompt that asks for the long ones.
    if (lengths.length > 1 && lengths.at(-2)! + 12 <= original && usage.promptTokens > original) {
      assert.equal(usage.cachedTokens, 0);
    }
  }
  assert.ok(lengths[0]! < original && lengths.at(-1)! > original, `${lengths} cross ${original}`);
});
