import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { Gpu } from "../src/gpu/gpu.ts";
import { AdapterError, CheckpointError, FastVLM, InputError, memoryFolder, type Result } from "../src/node.ts";
import { leadOn } from "../src/pipeline/generation.ts";
import { inspectCheckpoint } from "../src/pipeline/inspect.ts";
import { installPlatform, platform } from "../src/pipeline/platform.ts";
import { headerLength, parseHeader } from "../weights/safetensors.ts";
import { GOLDEN } from "./golden.ts";

const path = (file: string): string => fileURLToPath(new URL(file, GOLDEN));
const PICTURE = path("preprocess/exif_6.jpg");
const vlm = await FastVLM.load(path("models/fastvlm_hf"), { dtype: "f32" });
after(() => vlm.close());

async function answer(model: FastVLM, options: Parameters<FastVLM["generate"]>[0]): Promise<Result> {
  let joined = "";
  for await (const piece of model.generate(options)) {
    joined += piece.text;
    if (piece.result) {
      assert.equal(joined, piece.result.text);
      return piece.result;
    }
  }
  throw new Error("no result");
}

test("an answer has text, tokens, usage and timings", async () => {
  const result = await answer(vlm, { images: [PICTURE], prompt: "What is it?", maxTokens: 6 });
  assert.equal(result.tokens.length, 6);
  assert.equal(result.finishReason, "length");
  assert.equal(result.usage.imageTokens, 9);
  assert.equal(result.usage.completionTokens, 6);
  assert.ok(result.usage.promptTokens > 9);
  assert.ok(result.timings.firstToken >= result.timings.prefill + result.timings.vision);
});

test("a prompt submitted behind its picture, as on a GPU of its own, gives the same answer", async () => {
  using own = await FastVLM.load(path("models/fastvlm_hf"), { dtype: "f32", imageCacheBytes: 0 });
  const ask = async () => {
    const seen: number[] = [];
    const onProgress = (at: { stage: string; done: number }) => void (at.stage === "images" && seen.push(at.done));
    const result = await answer(own, { images: [PICTURE], prompt: "What is it?", maxTokens: 6, onProgress });
    assert.ok(result.timings.vision > 0 && result.timings.prefill > 0);
    return { seen, tokens: result.tokens };
  };
  const { adapter } = own.gpu;
  const { software } = adapter;
  const answers = [];
  for (const value of [true, false]) {
    Object.assign(adapter, { software: value });
    answers.push(await ask());
  }
  Object.assign(adapter, { software });
  assert.deepEqual(answers[0]!.seen, [0, 1]);
  assert.deepEqual(answers[1], answers[0]);
});

test("a path, bytes and pixels of one picture give one answer", async () => {
  const bytes = new Uint8Array(readFileSync(PICTURE));
  const [a, b] = [
    await answer(vlm, { images: [PICTURE], prompt: "?", maxTokens: 8 }),
    await answer(vlm, { images: [bytes], prompt: "?", maxTokens: 8 }),
  ];
  assert.deepEqual(a.tokens, b.tokens);
  const grey = { width: 20, height: 10, data: new Uint8Array(600).fill(128) };
  const other = await answer(vlm, { images: [grey], prompt: "?", maxTokens: 8 });
  assert.notDeepEqual(other.tokens, a.tokens);
});

test("40 questions: memory, buffers and bind groups stay flat", async () => {
  const ask = () => answer(vlm, { images: [PICTURE], prompt: "What is it?", maxTokens: 4 });
  const first = await ask();
  await ask();
  const before = { ...vlm.gpu.memory, groups: vlm.gpu.bindGroupsCreated };
  for (let i = 0; i < 40; i++) assert.deepEqual((await ask()).tokens, first.tokens);
  assert.deepEqual({ ...vlm.gpu.memory, groups: vlm.gpu.bindGroupsCreated }, before);
});

test("a decode step makes no buffer and no bind group, and is one submit", async () => {
  const counts: number[][] = [];
  for await (const { token } of vlm.generate({ prompt: "Count.", maxTokens: 8 })) {
    if (token !== undefined) counts.push([vlm.gpu.memory.allocations, vlm.gpu.bindGroupsCreated, vlm.gpu.submits]);
  }
  const [, , third, ...rest] = counts;
  rest.forEach(([allocations, groups, submits], i) => {
    assert.deepEqual([allocations, groups], third!.slice(0, 2));
    // The last tokens' passes were submitted before those tokens were asked for.
    assert.equal(submits, third![2]! + Math.min(i + 1, rest.length - leadOn(vlm.gpu.adapter)));
  });
});

test("a trace holds the stages under PyTorch's names", async () => {
  const { trace } = await answer(vlm, { images: [PICTURE], prompt: "What?", maxTokens: 3, trace: true });
  assert.ok(trace);
  const length = headerLength("trace", trace.subarray(0, 8), trace.length);
  const { tensors } = parseHeader("trace", trace.subarray(8, 8 + length), trace.length);
  const shapes = Object.fromEntries(tensors.map(({ name, shape }) => [name, shape]));
  for (const name of [
    "vision.stem.2",
    "vision.stages.4",
    "vision.final_conv",
    "projector.out",
    "layer.0.out",
    "layer.1.out",
    "final_norm",
  ]) {
    assert.ok(shapes[name], name);
  }
  assert.deepEqual(shapes["vision.final_conv"], [1, 384, 3, 3]);
  assert.deepEqual(shapes.logits, [3, 448]);
  assert.deepEqual(shapes.greedy_tokens, [3]);
});

test("an abort stops the answer and frees what it held", async () => {
  await answer(vlm, { images: [PICTURE], prompt: "Stop", maxTokens: 20 });
  const { used } = vlm.gpu.memory;
  const abort = new AbortController();
  const run = async (): Promise<void> => {
    for await (const { token } of vlm.generate({
      images: [PICTURE],
      prompt: "Stop",
      maxTokens: 20,
      signal: abort.signal,
    })) {
      if (token !== undefined) abort.abort();
    }
  };
  await assert.rejects(run(), { name: "AbortError" });
  assert.equal(vlm.gpu.memory.used, used);
  await assert.rejects(FastVLM.load(path("models/fastvlm_hf"), { signal: AbortSignal.abort() }), {
    name: "AbortError",
  });
});

test("an abort ends loading while a folder is silent, one that looks at no signal included", async () => {
  let left = 0;
  let stop = new AbortController();
  const server = createServer((request) => {
    request.on("close", () => left++);
    stop.abort("enough");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`;
  const never = (): Promise<never> => {
    stop.abort("enough");
    return new Promise(() => undefined);
  };
  const deaf = { name: "deaf", size: never, read: never, close: async () => {} };
  const model = path("models/fastvlm_hf");
  try {
    for (const source of [address, deaf, { vision: model, language: address }, { vision: deaf, language: model }]) {
      stop = new AbortController();
      await assert.rejects(FastVLM.load(source, { signal: stop.signal }), (reason) => reason === "enough");
    }
    while (left < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("loading ends at once when it is aborted while the GPU opens, and when there is no GPU", async () => {
  const plain = platform();
  const stop = new AbortController();
  const silent = {
    name: "silent",
    size: () => new Promise<never>(() => undefined),
    read: async () => new Uint8Array(),
  };
  try {
    installPlatform({
      ...plain,
      openGpu() {
        stop.abort("enough");
        return new Promise(() => undefined);
      },
    });
    const stopped = FastVLM.load(path("models/fastvlm_hf"), { signal: stop.signal });
    await assert.rejects(stopped, (reason) => reason === "enough");
    installPlatform({ ...plain, openGpu: () => Promise.reject(new AdapterError("none")) });
    await assert.rejects(FastVLM.load({ ...silent, close: async () => {} }), AdapterError);
    await assert.rejects(FastVLM.load("/no/such/folder"), CheckpointError);
    // A GPU that opens too late is closed.
    for (const signal of [undefined, AbortSignal.timeout(20)]) {
      const late = Promise.withResolvers<Gpu>();
      const closed = Promise.withResolvers<void>();
      installPlatform({ ...plain, openGpu: () => late.promise });
      const size = signal ? silent.size : () => Promise.reject(new CheckpointError("damaged"));
      await assert.rejects(FastVLM.load({ ...silent, size, close: async () => {} }, { signal }));
      late.resolve(Object.assign(Gpu.dry(), { close: closed.resolve }));
      await closed.promise;
    }
  } finally {
    installPlatform(plain);
  }
});

test("a model of parts answers as the whole does", async () => {
  const folder = path("models/fastvlm_hf");
  using parts = await FastVLM.load(
    { vision: path("models/fastvlm_llava"), projector: folder, language: folder },
    { dtype: "f32", resize: "crop" },
  );
  const ask = { images: [PICTURE], prompt: "What is it?", maxTokens: 6 };
  assert.deepEqual((await answer(parts, ask)).tokens, (await answer(vlm, ask)).tokens);
});

test("a projector for another language model is refused", async () => {
  const parts = { vision: path("models/fastvlm_hf"), language: path("models/phi4_tiny") };
  await assert.rejects(FastVLM.load(parts), /expected 128, the language model's width/);
});

test("a configuration that promises an output head of its own, where there is none, is worth a warning", async () => {
  const model = path("models/qwen2_tiny");
  const files = Object.fromEntries(readdirSync(model).map((file) => [file, readFileSync(join(model, file))]));
  for (const [tied, count] of [
    [false, 1],
    [true, 0],
    [undefined, 0],
  ] as const) {
    const config = { ...JSON.parse(String(files["config.json"])), tie_word_embeddings: tied };
    const folder = memoryFolder({ ...files, "config.json": Buffer.from(JSON.stringify(config)) });
    const warnings: string[] = [];
    using _ = await FastVLM.load(folder, { onWarning: (message) => void warnings.push(message) });
    assert.equal(warnings.length, count);
    if (count > 0) assert.match(warnings[0]!, /tie_word_embeddings: false, and lm_head\.weight is not in/);
  }
});

test("inspect describes a checkpoint without reading its weights", async () => {
  const report = await inspectCheckpoint(path("models/fastvlm_hf"));
  assert.equal(report.kind, "fast_vlm");
  assert.equal(report.vision?.tokensPerImage, 9);
  assert.equal(report.language.layers, 2);
  assert.ok(report.memory.f32.weights > report.memory.f16.weights);
});

test("checkpoint and picture may come over HTTP", async () => {
  const server = createServer((request, response) => {
    const file = path(`.${request.url}`);
    if (!existsSync(file)) return response.writeHead(404).end();
    const bytes = readFileSync(file);
    const [, start, end] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "") ?? [];
    if (start === undefined) return response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    const last = end ? Number(end) : bytes.length - 1;
    const range = `bytes ${start}-${last}/${bytes.length}`;
    return response.writeHead(206, { "content-range": range }).end(bytes.subarray(Number(start), last + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    using remote = await FastVLM.load(`${base}/models/fastvlm_hf`, { dtype: "f32" });
    const ask = { images: [PICTURE], prompt: "What is it?", maxTokens: 6 };
    const here = await answer(vlm, ask);
    assert.deepEqual((await answer(remote, { ...ask, images: [`${base}/preprocess/exif_6.jpg`] })).tokens, here.tokens);
    await assert.rejects(answer(remote, { ...ask, images: [`${base}/no.jpg`] }), InputError);
    const host = base.replace("http://", "");
    for (const url of [`HTTP://me:secret@${host}/no.jpg`, `${base}/no.jpg?token=secret`, `http://[x?token=secret`]) {
      await assert.rejects(answer(remote, { ...ask, images: [url] }), (error: unknown) => {
        return error instanceof InputError && !inspect(error).includes("secret");
      });
    }
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
