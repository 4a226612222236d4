// The choice between shaders: a pure function of shape, adapter and tables, and tables that are measured once and kept.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { linear, linearCandidates } from "../kernels/linear.ts";
import { linearQuantized, quantizedCandidates } from "../kernels/linear_quantized.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { Choices, GUESS, rowClass } from "../src/gpu/choices.ts";
import { DRY_ADAPTER, openDevice } from "../src/gpu/device.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { defineKernel, loadShaders } from "../src/gpu/kernel.ts";
import { best, tune } from "../src/gpu/tune.ts";
import { tableFor } from "../src/gpu/tuned.ts";
import { findAdapter, patientWait } from "../src/node/adapter.ts";
import { NodeTuningStore } from "../src/node/tuning_store.ts";
import { FastVLM } from "../src/node.ts";
import { installPlatform, platform } from "../src/pipeline/platform.ts";
import { parseTuning, Tuning, type TuningStore, tuningKey } from "../src/pipeline/tuning.ts";
import type { LoadOptions } from "../src/pipeline/types.ts";
import { QuantizedTensor } from "../src/tensor/quantized.ts";
import { GOLDEN } from "./golden.ts";

const folder = mkdtempSync(join(tmpdir(), "fastvlm-tuning-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const MODEL = fileURLToPath(new URL("models/phi4_mini_tiny", GOLDEN));

const nothing = (): void => undefined;

/** This machine's adapter as if it were a GPU that nobody has measured. */
async function pretendGpu(): Promise<Gpu> {
  const { adapter } = await findAdapter();
  const [open] = await Promise.all([openDevice(adapter, patientWait), loadShaders()]);
  return new Gpu({ ...open, adapter: { ...open.adapter, software: false, description: "GPU under test" } });
}

/** Keeps texts in memory, and notes what is asked of it. */
class MemoryStore implements TuningStore {
  readonly runtime = "test";
  readonly texts = new Map<string, string>();
  calls = 0;

  async read(key: string): Promise<string | undefined> {
    this.calls++;
    return this.texts.get(key);
  }

  async write(key: string, text: string): Promise<void> {
    this.calls++;
    this.texts.set(key, text);
  }
}

describe("choices", () => {
  test("where a table has the guess, nobody is asked", async () => {
    const choices = new Choices({ "k rows 1": GUESS });
    const questions = await choices.collect(async () => {
      assert.equal(choices.pick("k rows 1", "8x8", ["a", "b"], nothing), "a");
    });
    assert.deepEqual(questions, []);
  });

  test("without a table the first candidate, always", () => {
    const choices = new Choices();
    assert.equal(choices.pick("k rows 1", "8x8", ["a", "b"], nothing), "a");
    assert.equal(choices.pick("k rows 1", "8x8", ["a", "b"], nothing), "a");
  });

  test("a table names a class of sizes, or all sizes; its first match decides; later tables come first", () => {
    const choices = new Choices({ "k rows 1": "b", "k rows 1 8x8": "a" });
    assert.equal(choices.pick("k rows 1", "8x8", ["c", "a", "b"], nothing), "a");
    assert.equal(choices.pick("k rows 1", "9x9", ["c", "a", "b"], nothing), "b");
    assert.equal(choices.pick("k rows 2", "9x9", ["c", "a", "b"], nothing), "c");
    choices.prefer({ "k rows 1 8x8": "b" });
    assert.equal(choices.pick("k rows 1", "8x8", ["c", "a", "b"], nothing), "b");
    choices.clear();
    assert.equal(choices.pick("k rows 1", "8x8", ["c", "a", "b"], nothing), "c");
  });

  test("what was chosen for a weight is chosen again, until a table comes or goes, and asked where choices are collected", async () => {
    const choices = new Choices();
    const weights = [{}, {}] as const;
    let asked = 0;
    const choose = (weight: object, kind: number): string =>
      choices.recall(weight, kind, () => {
        asked++;
        return choices.pick("k rows 1", "8x8", ["a", "b"], nothing);
      });
    for (let i = 0; i < 3; i++) for (const weight of weights) assert.equal(choose(weight, 1), "a");
    assert.equal(asked, 2);
    assert.equal(choose(weights[0], 2), "a");
    assert.equal(asked, 3);
    const questions = await choices.collect(async () => choose(weights[0], 1));
    assert.deepEqual([questions.length, asked], [1, 4]);
    choices.prefer({ "k rows 1": "b" });
    assert.equal(choose(weights[0], 1), "b");
    choices.clear();
    assert.equal(choose(weights[0], 1), "a");
  });

  test("what a table names and the shape cannot have is not taken", () => {
    const choices = new Choices({ "k rows 1": "gone" });
    assert.equal(choices.pick("k rows 1", "8x8", ["a", "b"], nothing), "a");
  });

  test("rows share choices up to powers of two, and from 33 on", () => {
    assert.deepEqual([1, 2, 3, 4, 5, 8, 9, 32, 33, 288, 65536].map(rowClass), [1, 2, 4, 4, 8, 8, 16, 32, 64, 64, 64]);
  });

  test("the first candidate gives way to what is clearly faster, and to anything when it does not compile", () => {
    assert.equal(best(["a", "b"], { a: 1, b: 0.97 }), "a");
    assert.equal(best(["a", "b", "c"], { a: 1, b: 0.9, c: 0.8 }), "c");
    assert.equal(best(["a", "b"], { b: 3 }), "b");
    assert.equal(best(["a", "b"], {}), "a");
  });
});

test("the table of an adapter names what it can run", () => {
  const subgroupMatrices = [{ component: "f16", result: "f32", M: 16, N: 16, K: 16 }];
  const card = { ...DRY_ADAPTER, description: "nvidia-h200", software: false, f16: true, workgroupBytes: 49152 };
  const adapter = { ...card, subgroups: true, subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrices };
  const table = Object.entries(tableFor(adapter));
  assert.ok(table.length > 0);
  for (const [group, variant] of table) {
    const [, kernel, rows] = /^(linear|linear_quantized) .* rows (\d+)$/.exec(group)!;
    const shape = { rows: Number(rows), inputs: 4864, outputs: 896, half: true };
    const all: readonly string[] =
      kernel === "linear" ? linearCandidates(shape, adapter) : quantizedCandidates(shape, adapter);
    assert.ok(variant === GUESS || all.includes(variant), `${group}: ${variant}`);
  }
});

describe("tuning", () => {
  test("asks what no table knows, times every candidate, and stops at the limit", async (context) => {
    const gpu = await pretendGpu();
    context.after(() => gpu.close());
    const weight = gpu.upload([24, 16], "f32", new Float32Array(24 * 16));
    const rehearse = () => gpu.rehearse(() => linear(gpu.empty([3, 16], "f32"), weight));
    const [question, ...more] = await gpu.choices.collect(rehearse);
    assert.deepEqual([question?.key, more], ["linear f32 f32 rows 4 16x24", []]);
    const [answer] = await tune(gpu, [question!], { limitMs: 1000 });
    assert.deepEqual(Object.keys(answer!.ms).sort(), [...question!.candidates].sort());
    assert.ok(Object.values(answer!.ms).every((ms) => ms > 0));
    assert.ok(question!.candidates.includes(answer!.chosen));
    const [late] = await tune(gpu, [question!], { limitMs: -1 });
    assert.deepEqual(late, { key: question!.key, ms: {}, chosen: question!.candidates[0] });
    gpu.choices.prefer({ [answer!.key]: answer!.chosen });
    assert.deepEqual(await gpu.choices.collect(rehearse), []);
  });

  test("a shader that the adapter does not take costs nobody else anything", async (context) => {
    const source = (y: string): string =>
      `struct Params { n: u32 }
      @group(0) @binding(0) var<storage, read> x: array<x_t>;
      @group(0) @binding(1) var<storage, read_write> y: array<y_t>;
      @group(1) @binding(0) var<uniform> params: Params;
      @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { if (id.x < params.n) { y[id.x] = ${y}; } }`;
    const spec = { buffers: { x: "read", y: "write" }, params: { n: "u32" } } as const;
    const good = defineKernel({ name: "test_good", source: source("x[id.x] + x_t(1)"), ...spec });
    const bad = defineKernel({ name: "test_bad", source: source("x[id.x] +"), ...spec });
    const gpu = await pretendGpu();
    context.after(() => gpu.close());
    const x = gpu.upload([64], "f32", new Float32Array(64));
    const trial = (variant: string): void => {
      (variant === "bad" ? bad : good).run({ x, y: gpu.empty([64], "f32") }, { n: 64 }, { workgroups: 1 });
    };
    const questions = ["one", "two", "three"].map((key, i) => {
      return { key, candidates: i === 1 ? ["bad", "good"] : ["good", "fine"], trials: [trial] };
    });
    const answers = await tune(gpu, questions, { limitMs: 10_000 });
    assert.deepEqual(
      answers.map(({ ms }) => Object.keys(ms).sort()),
      [["fine", "good"], ["good"], ["fine", "good"]],
    );
    assert.equal(answers[1]?.chosen, "good");
    await gpu.settled();
  });

  test("without timestamps all that is timed is one submit", async (context) => {
    const { adapter } = await findAdapter();
    const [open] = await Promise.all([openDevice(adapter, patientWait), loadShaders()]);
    const gpu = new Gpu({ ...open, adapter: { ...open.adapter, software: false, timestamps: false } });
    context.after(() => gpu.close());
    const x = gpu.upload([1, 64], "f32", new Float32Array(64).fill(1));
    const weight = gpu.upload([64], "f32", new Float32Array(64).fill(1));
    await gpu.settled();
    const { submits } = gpu;
    const ms = await gpu.time(() => {
      for (let i = 0; i < 40; i++) gpu.scope(() => void rmsNorm(x, weight, 1e-5));
    });
    assert.ok(ms > 0);
    assert.equal(gpu.submits, submits + 1);
  });

  test("matrices that permit bytes ask questions of their own, and no answer to the others' decides them", async (context) => {
    const { adapter } = await findAdapter();
    const [open] = await Promise.all([openDevice(adapter, patientWait), loadShaders()]);
    const gpu = new Gpu({
      ...open,
      adapter: { ...open.adapter, subgroups: false, subgroupMatrices: [], packedDot: true },
    });
    context.after(() => gpu.close());
    const weights = (["float", "int8"] as const).map((kind) => QuantizedTensor.empty(gpu, "int4", [24, 32], kind));
    const ask = (rows: number): void => {
      for (const weight of weights) gpu.scope(() => linearQuantized(gpu.empty([rows, 32], "f32"), weight));
    };
    const keys = (rows: number) =>
      gpu.choices.collect(async () => ask(rows)).then((all) => all.map(({ key, candidates }) => [key, candidates[0]]));
    assert.deepEqual(await keys(80), [["linear_quantized f32/int8 int4 rows 64 32x24", "dot"]]);
    assert.deepEqual(await keys(4), [["linear_quantized f32 int4 rows 4 32x24", "row"]], "few rows stay as they are");
    const runs = (): number => {
      const before = gpu.dispatches;
      ask(80);
      return gpu.dispatches - before;
    };
    assert.equal(runs(), 3, "bytes take two: one rounds");
    gpu.choices.prefer({ "linear_quantized f32 int4 rows 64": "tile" });
    assert.equal(runs(), 3);
    gpu.choices.prefer({ "linear_quantized f32/int8 int4 rows 64": "tile" });
    assert.equal(runs(), 2);
  });

  test("a tuned choice is kept and read again; a damaged text is as none and is replaced", async (context) => {
    const gpu = await pretendGpu();
    context.after(() => gpu.close());
    const weight = gpu.upload([24, 16], "f32", new Float32Array(24 * 16));
    const rehearse = async (): Promise<void> => {
      await gpu.rehearse(() => linear(gpu.empty([1, 16], "f32"), weight));
    };
    const store = new NodeTuningStore(folder);
    const key = tuningKey(gpu.adapter, store.runtime);
    for (const text of [undefined, "{", "null", '{"choices": 3}', '{"adapter": "another", "choices": {}}']) {
      if (text !== undefined) writeFileSync(store.path(key), text);
      gpu.choices.clear();
      assert.equal(await (await Tuning.open(gpu, store))!.run(rehearse), true, String(text));
      assert.equal(await (await Tuning.open(gpu, store))!.run(rehearse), false, String(text));
    }
    const kept = parseTuning(readFileSync(store.path(key), "utf8"), key);
    assert.deepEqual(Object.keys(kept!), ["linear f32 f32 rows 1 16x24"]);
    assert.deepEqual(readdirSync(folder).length, 1, "nothing unfinished is left");
    const old = readFileSync(store.path(key), "utf8").replace(/"shaders": "\w+"/, '"shaders": "0"');
    assert.equal(parseTuning(old, key), undefined, "choices between other shaders");
  });

  test("software adapters have tables and are not tuned", async (context) => {
    const { adapter } = await findAdapter();
    const open = await openDevice(adapter, patientWait);
    const gpu = new Gpu({ ...open, adapter: { ...open.adapter, software: true } });
    context.after(() => gpu.close());
    assert.equal(await Tuning.open(gpu, new MemoryStore()), undefined);
  });

  test("a model is tuned when it is first loaded, and answers the same ever after; autotune: false", async (context) => {
    const before = platform();
    const tuningStore = new MemoryStore();
    context.after(() => installPlatform(before));
    installPlatform({ ...before, openGpu: pretendGpu, tuningStore });
    const answer = async (options: LoadOptions): Promise<string> => {
      using vlm = await FastVLM.load(MODEL, { dtype: "f32", ...options });
      let text = "";
      for await (const piece of vlm.generate({ prompt: "What is it?", maxTokens: 3, temperature: 1, seed: 3 }))
        text += piece.text;
      return text;
    };
    (await FastVLM.load(MODEL, { dtype: "f32", autotune: false })).close();
    assert.equal(tuningStore.calls, 0);
    const first = await answer({});
    const [kept] = tuningStore.texts.values();
    assert.ok(kept);
    assert.equal(await answer({}), first);
    assert.deepEqual([...tuningStore.texts.values()], [kept], "nothing is measured twice");
  });

  test("a store that cannot be written costs time and nothing else", async (context) => {
    const gpu = await pretendGpu();
    context.after(() => gpu.close());
    const store: TuningStore = {
      runtime: "test",
      read: () => Promise.reject(new Error("unreadable")),
      write: () => Promise.reject(new Error("full")),
    };
    const weight = gpu.upload([24, 16], "f32", new Float32Array(24 * 16));
    const tuning = await Tuning.open(gpu, store);
    const rehearse = async (): Promise<void> => {
      await gpu.rehearse(() => linear(gpu.empty([1, 16], "f32"), weight));
    };
    assert.equal(await tuning!.run(rehearse), true);
    assert.deepEqual(await gpu.choices.collect(rehearse), [], "this process uses what it measured");
  });
});
