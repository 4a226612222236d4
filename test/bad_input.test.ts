// What callers get wrong is refused in their own words, before any work is done for it.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  ContextError,
  FastVLM,
  FastVLMError,
  ImageError,
  InputError,
  type Message,
  type Pixels,
  readVideo,
} from "../src/node.ts";
import { inspectCheckpoint } from "../src/pipeline/inspect.ts";
import { golden, resultOf } from "./answers.ts";

const PICTURE = golden("preprocess/exif_6.jpg");
const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
after(() => vlm.close());

const answer = (options: Parameters<FastVLM["generate"]>[0]) => resultOf(vlm.generate(options));

test("what does not fit or make sense is refused before any GPU work", async () => {
  const dispatches = vlm.gpu.dispatches;
  await assert.rejects(answer({ prompt: "Hi", maxTokens: 5000 }), ContextError);
  await assert.rejects(answer({ prompt: "Hi", maxTokens: 0 }), InputError);
  await assert.rejects(answer({ prompt: "Hi", images: ["/no/such/file.jpg"] }), InputError);
  await assert.rejects(answer({ prompt: "Hi", images: [new Uint8Array(0)] }), ImageError);
  await assert.rejects(FastVLM.load("/no/such/folder"), FastVLMError);
  await assert.rejects(FastVLM.load(golden("models/fastvlm_hf"), { imageSize: 100 }), InputError);
  assert.equal(vlm.gpu.dispatches, dispatches);
});

test("what is no question is refused in the caller's words", async () => {
  const wrong: [options: unknown, message: RegExp][] = [
    [{}, /^prompt: expected text, got nothing$/],
    [{ prompt: ["Hi"] }, /^prompt: expected text, got a list$/],
    [{ prompt: "Hi", images: "photo.jpg" }, /^images: expected a list, got text$/],
    [{ prompt: "Hi", images: new Uint8Array(3) }, /^images: expected a list, got bytes$/],
    [{ prompt: "Hi", images: null }, /^images: expected a list, got null$/],
  ];
  const options = (value: unknown) => value as Parameters<FastVLM["generate"]>[0];
  for (const [value, message] of wrong) {
    await assert.rejects(answer(options(value)), { name: "InputError", message });
  }
  const hinted = answer(options({ prompt: "Hi", images: "photo.jpg" }));
  await assert.rejects(hinted, (error) => error instanceof InputError && /in a list/.test(error.hint ?? ""));
  const parts = [{ type: "text", text: 5 }] as unknown as Message["content"];
  const chat = vlm.chat([{ role: "user", content: parts }]).next();
  await assert.rejects(chat, { name: "InputError", message: /content\[0\]\.text: expected text, got 5$/ });
  const messages = "Hi" as unknown as Message[];
  await assert.rejects(vlm.chat(messages).next(), {
    name: "InputError",
    message: /^messages: expected a list, got text/,
  });
  assert.throws(() => vlm.session({ messages }), {
    name: "InputError",
    message: /^messages: expected a list, got text/,
  });
});

test("what is no checkpoint, and options of loading that do not exist, are refused in the caller's words", async () => {
  const model = golden("models/fastvlm_hf");
  const sources: [source: unknown, message: RegExp][] = [
    [null, /^checkpoint: expected a path, .*got null$/],
    [undefined, /^checkpoint: .*got nothing$/],
    [5, /^checkpoint: .*got 5$/],
    [[model], /^checkpoint: .*got a list$/],
    [new URL("file:///model"), /^checkpoint: .*got a URL$/],
    [{ vision: model, llm: model }, /or \{ vision, projector, language \}, got \{ vision, llm \}$/],
    [
      { vision: model, language: null },
      /^language: expected a path, an address, an object that reads files, got null$/,
    ],
    [{ vision: { name: "x" }, language: model }, /^vision: expected .*got \{ name \}$/],
  ];
  for (const [source, message] of sources) {
    await assert.rejects(FastVLM.load(source as string), { name: "InputError", message });
    await assert.rejects(inspectCheckpoint(source as string), { name: "InputError", message });
  }
  const options: [options: object, message: RegExp][] = [
    [{ dtype: "bf16" }, /^dtype: expected f32, f16, got bf16$/],
    [{ dtype: "F16" }, /^dtype: /],
    [{ resize: "stretch" }, /^resize: expected pad, crop, got stretch$/],
    [{ quantize: "int2" }, /^quantize: /],
  ];
  for (const [wrong, message] of options) {
    await assert.rejects(FastVLM.load(model, wrong), { name: "InputError", message });
  }
});

test("pixels that are not RGB of their size are refused", async () => {
  const { dispatches } = vlm.gpu;
  const rgb = (width: unknown, height: unknown, data: unknown) => ({ width, height, data });
  const wrong: [pixels: unknown, message: RegExp][] = [
    [rgb(4, 2, new Uint8ClampedArray(32)), /data: expected 24 bytes, RGB for 4 × 2 pixels, got 32/],
    [rgb(4, 2, new Uint8Array(3)), /got 3$/],
    [rgb(4, 2, new Uint8Array(25)), /got 25$/],
    [rgb(0, 0, new Uint8Array(0)), /whole numbers from 1 to 65535, .*got 0 × 0/],
    [rgb(3.5, 2, new Uint8Array(21)), /got 3.5 × 2/],
    [rgb(-3, 2, new Uint8Array(18)), /got -3 × 2/],
    [rgb("4", 2, new Uint8Array(24)), /got "4" × 2/],
    [rgb(65536, 1, new Uint8Array(3 * 65536)), /got 65536 × 1/],
    [rgb(4, 2, null), /data: expected a Uint8Array, got null/],
    [rgb(4, 2, new Array(24).fill(0)), /data: expected a Uint8Array, got object/],
  ];
  for (const [pixels, message] of wrong) {
    const image = pixels as Pixels;
    await assert.rejects(answer({ prompt: "?", images: [image] }), (error: unknown) => {
      assert.ok(error instanceof ImageError, String(error));
      assert.match(error.message, message);
      assert.equal(/RGBA/.test(error.hint ?? ""), /got 32/.test(error.message));
      return true;
    });
    await assert.rejects(readVideo([PICTURE, image]), { name: "ImageError", message });
  }
  await assert.rejects(readVideo([null as unknown as Pixels]), /video: frame 0: expected a path, .*got null/);
  await assert.rejects(readVideo(null as unknown as string), InputError);
  assert.equal(vlm.gpu.dispatches, dispatches);
});

test("what is no image or video is refused by its kind, with the way out", async () => {
  const things: [thing: unknown, got: string, hint: RegExp | undefined][] = [
    [new Blob(["x"]), "a Blob", /new Uint8Array\(await file.arrayBuffer\(\)\)/],
    [new File(["x"], "x.jpg"), "a File", /await file.arrayBuffer/],
    [new ArrayBuffer(3), "an ArrayBuffer", /new Uint8Array\(buffer\)/],
    [new URL("https://x.org/a.jpg"), "a URL", /href/],
    [new Map(), "a Map", undefined],
    [
      new (class HTMLCanvasElement {
        width = 1;
        height = 1;
      })(),
      "an HTMLCanvasElement",
      undefined,
    ],
    [{ width: 1, height: 1 }, "{ width, height }", undefined],
    [undefined, "nothing", undefined],
  ];
  for (const [thing, got, hint] of things) {
    const image = thing as Pixels;
    const refused = (start: string) => (error: unknown) => {
      assert.ok(error instanceof InputError, String(error));
      assert.equal(error.message, `${start}, got ${got}`);
      return hint ? hint.test(error.hint ?? "") : error.hint === undefined;
    };
    const picture = "expected a path, an address, bytes or pixels";
    const clip = "expected a path, an address, bytes or a list of frames";
    const content = [{ type: "video", video: thing as string }] as const;
    await assert.rejects(
      answer({ prompt: "?", images: [image] }),
      refused(`messages[0].content[0]: image: ${picture}`),
    );
    await assert.rejects(
      vlm.chat([{ role: "user", content }]).next(),
      refused(`messages[0].content[0]: video: ${clip}`),
    );
    await assert.rejects(readVideo([PICTURE, image]), refused(`video: frame 1: ${picture}`));
    await assert.rejects(readVideo(thing as string), refused(`video: ${clip}`));
  }
});
