// The GPU looks at pictures while later ones are decoded.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { nodeFolder } from "../src/node/folder.ts";
import { FastVLM, ImageError, type ImageInput } from "../src/node.ts";
import { inspectCheckpoint } from "../src/pipeline/inspect.ts";
import { installPlatform, platform } from "../src/pipeline/platform.ts";
import { golden, grey, resultOf } from "./answers.ts";
import { encodePng } from "./png.ts";

/** Nothing is kept of an image, so that every answer looks at it. */
const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32", imageCacheBytes: 0 });
const plain = platform();
after(() => {
  installPlatform(plain);
  vlm.close();
});

/** A file of one grey. */
function file(level: number): Uint8Array<ArrayBuffer> {
  const samples = Array.from({ length: 6 }, () => new Array<number>(8).fill(level));
  return new Uint8Array(encodePng({ width: 8, height: 6, depth: 8, colorType: 0, samples }));
}

const ask = (images: readonly ImageInput[], signal?: AbortSignal) =>
  resultOf(vlm.generate({ images, prompt: "Compare.", maxTokens: 5, signal }));

/** What happens while `body` runs: decoding, looks with their number of pictures, and their ends, none before `last` decodings. */
async function eventsOf(last: number, body: () => Promise<unknown>): Promise<string[]> {
  const events: string[] = [];
  let decoded = 0;
  const gate = Promise.withResolvers<void>();
  if (last === 0) gate.resolve();
  installPlatform({
    ...plain,
    decodeImage: (bytes, options) => {
      events.push(`decode ${++decoded}`);
      if (decoded === last) gate.resolve();
      return plain.decodeImage(bytes, options);
    },
  });
  const { settled } = vlm.gpu;
  vlm.gpu.settled = async () => {
    await Promise.all([settled.call(vlm.gpu), gate.promise]);
    events.push("seen");
  };
  vlm.gpu.recorder = (name, { shape }) => {
    if (name === "vision.features") events.push(`look at ${shape[0]}`);
  };
  try {
    await body();
  } finally {
    gate.resolve();
    vlm.gpu.recorder = null;
    vlm.gpu.settled = settled;
    installPlatform(plain);
  }
  return events;
}

test("while the GPU looks at the first picture, the next ones are decoded; what has gathered is looked at together", async () => {
  const events = await eventsOf(3, () => ask([file(10), file(120), file(230)]));
  assert.deepEqual(events, ["decode 1", "look at 1", "decode 2", "decode 3", "seen", "look at 2", "seen"]);
});

test("pictures that are pixels already are looked at together", async () => {
  const clip = { type: "video", video: [1, 60, 120, 180].map(grey) } as const;
  const events = await eventsOf(0, () => resultOf(vlm.chat([{ role: "user", content: [clip] }], { maxTokens: 2 })));
  assert.deepEqual(events, ["look at 4", "seen"]);
});

test("the answer is that of pictures looked at one after another, also of a picture shown twice", async () => {
  const images = [file(10), file(120), file(10), new Uint8Array(readFileSync(golden("preprocess/exif_6.jpg")))];
  const traced = await resultOf(vlm.generate({ images, prompt: "Compare.", maxTokens: 5, trace: true }));
  assert.deepEqual((await ask(images)).tokens, traced.tokens);
});

test("a damaged picture, or an abort, while another is looked at leaves nothing behind", async () => {
  await ask([file(1), file(2)]);
  const { used } = vlm.gpu.memory;
  await assert.rejects(ask([file(1), file(2), new Uint8Array(9)]), ImageError);
  assert.equal(vlm.gpu.memory.used, used);
  const abort = new AbortController();
  const looked = eventsOf(0, async () => {
    const { recorder } = vlm.gpu;
    vlm.gpu.recorder = (name, tensor) => {
      recorder?.(name, tensor);
      if (name === "vision.features") abort.abort("enough");
    };
    await assert.rejects(ask([file(1), file(2), file(3)], abort.signal), (reason) => reason === "enough");
  });
  assert.deepEqual(
    (await looked).filter((event) => event.startsWith("decode")),
    ["decode 1"],
  );
  assert.equal(vlm.gpu.memory.used, used);
});

test("an answer that waits for another's look ends when it is aborted, not when that look does", async () => {
  const { gpu } = vlm;
  const { settled } = gpu;
  let finish = (): void => undefined;
  const looking = new Promise<void>((resolve) => {
    finish = resolve;
  });
  gpu.settled = (since) => looking.then(() => settled.call(gpu, since));
  const first = ask([file(31)]);
  const abort = new AbortController();
  const second = ask([file(32)], abort.signal);
  setTimeout(() => abort.abort("enough"), 50);
  try {
    await assert.rejects(second, (reason) => reason === "enough");
  } finally {
    gpu.settled = settled;
    finish();
  }
  const { tokens } = await first;
  assert.deepEqual((await ask([file(31)])).tokens, tokens);
  const events = await eventsOf(1, () => ask([file(32)]));
  assert.deepEqual(events, ["decode 1", "look at 1", "seen"]);
});

/** Large enough that a GPU resizes it. */
const large = (shade: number) => {
  const data = Uint8Array.from({ length: 640 * 480 * 3 }, (_, i) => shade + ((i * 7) % 90));
  return { width: 640, height: 480, data } as const;
};

test("pictures that a GPU resizes stay there, and leave nothing behind", async () => {
  const { gpu } = vlm;
  const { adapter, readBytes } = gpu;
  const sets = [[large(1)], [large(1), file(120), large(99)]];
  const want = [];
  for (const images of sets) want.push((await ask(images)).tokens);
  const clip = [{ type: "video", video: [large(1), large(50)] } as const];
  const seen = () => resultOf(vlm.chat([{ role: "user", content: clip }], { maxTokens: 3 }));
  const wanted = (await seen()).tokens;
  const { used } = gpu.memory;
  const read: number[] = [];
  gpu.readBytes = (tensor) => {
    read.push(tensor.bytes);
    return readBytes.call(gpu, tensor);
  };
  Object.assign(gpu, { adapter: { ...adapter, software: false } });
  try {
    for (const [i, images] of sets.entries()) assert.deepEqual((await ask(images)).tokens, want[i]);
    assert.ok([...gpu.variants.keys()].some((variant) => variant.startsWith("resize_vertical")));
    const side = await inspectCheckpoint(await nodeFolder(golden("models/fastvlm_hf")));
    const bytes = 3 * side.vision!.imageSize ** 2;
    assert.ok(!read.includes(bytes));
    await assert.rejects(ask([large(1), new Uint8Array(9)]), ImageError);
    assert.deepEqual((await seen()).tokens, wanted);
    assert.equal(read.filter((size) => size === bytes).length, 2, "frames come back: a clip may be long");
  } finally {
    Object.assign(gpu, { adapter, readBytes });
  }
  assert.equal(gpu.memory.used, used);
});

test("a file that has been seen is not decoded again while its tokens are kept", async () => {
  using keeping = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
  let decoded = 0;
  installPlatform({
    ...plain,
    decodeImage: (bytes, options) => {
      decoded++;
      return plain.decodeImage(bytes, options);
    },
  });
  try {
    const images = [file(10), file(120), file(10)];
    const answer = () => resultOf(keeping.generate({ images, prompt: "Compare.", maxTokens: 5 }));
    const first = await answer();
    assert.equal(decoded, 2);
    assert.deepEqual((await answer()).tokens, first.tokens);
    await resultOf(keeping.generate({ images: [file(10)], prompt: "What?", maxTokens: 2 }));
    assert.equal(decoded, 2);
  } finally {
    installPlatform(plain);
  }
});
