// How each engine runs one pass. Every engine is measured in a process of its own.
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { decoderConfig } from "../../src/models/decoder/config.ts";
import { FASTVITHD } from "../../src/models/fastvithd/config.ts";
import { FastVLM } from "../../src/node.ts";
import { randomFolder } from "../../test/random_folder.ts";
import { CONFIGS } from "../../test/random_shapes.ts";
import { prefillMs, prompt, seeMs, stepMs } from "../lib/passes.mts";
import { spread } from "../lib/stats.mts";
import { decoderGraph, fastvithdGraph } from "./graphs.mts";

export const ENGINES = ["ours", "ort-node-webgpu", "ort-web-webgpu", "ort-node-cpu"] as const;
export type Engine = (typeof ENGINES)[number];

/** A pass: FastViTHD over a picture, or Qwen2-0.5B in int4 over a prompt (`past` 0) or one token more. */
export type Task =
  | { readonly kind: "vision"; readonly size: number }
  | { readonly kind: "decoder"; readonly tokens: number; readonly past: number };

export interface Job {
  readonly engine: Engine;
  readonly task: Task;
  readonly runs: number;
}

/** The part of ONNX Runtime's interface that both of its packages share. */
interface Ort {
  readonly Tensor: new (type: "float32", data: Float32Array, shape: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<Session>;
  };
  readonly env: { readonly wasm: { numThreads: number; wasmPaths: string } };
}

interface Session {
  readonly inputNames: readonly string[];
  run(feeds: Readonly<Record<string, unknown>>): Promise<unknown>;
}

const SHAPE = "fastvlm-0.5b";
const QWEN = decoderConfig(CONFIGS[SHAPE]!.config);
const require = createRequire(import.meta.url);

/** Milliseconds of a pass: the median of `runs` after a first one. */
export async function measureEngine({ engine, task, runs }: Job): Promise<{ readonly ms: number }> {
  const pass = engine === "ours" ? await ourPass(task) : await onnxPass(engine, task);
  const times: number[] = [];
  for (let run = 0; run <= runs; run++) times.push(await pass());
  return { ms: spread(times.slice(1)).median };
}

async function ourPass(task: Task): Promise<() => Promise<number>> {
  const quantize = task.kind === "decoder" ? ("int4" as const) : undefined;
  const { model } = await FastVLM.load(randomFolder(SHAPE), { quantize });
  if (task.kind === "vision") return () => seeMs(model, task.size);
  const { tokens, past } = task;
  const cache = model.decoder.cache(past + tokens, model.dtype);
  const x = prompt(model, tokens);
  if (past === 0) return () => prefillMs(model, cache, x);
  const before = prompt(model, past);
  await prefillMs(model, cache, before);
  return () => stepMs(model, cache, past, x);
}

async function onnxPass(engine: Exclude<Engine, "ours">, task: Task): Promise<() => Promise<number>> {
  const ort = engine === "ort-web-webgpu" ? await onnxWeb() : (require("onnxruntime-node") as Ort);
  const model =
    task.kind === "vision" ? fastvithdGraph(FASTVITHD, task.size) : decoderGraph(QWEN, task.tokens, task.past);
  const shape = task.kind === "vision" ? [1, 3, task.size, task.size] : [1, task.tokens, QWEN.hiddenSize];
  const provider = engine === "ort-node-cpu" ? "cpu" : "webgpu";
  const session = await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 7919) % 1021) / 1021);
  const feeds = { [session.inputNames[0]!]: new ort.Tensor("float32", data, shape) };
  return async () => {
    const started = performance.now();
    await session.run(feeds);
    return performance.now() - started;
  };
}

/** onnxruntime-web on Node's WebGPU. */
async function onnxWeb(): Promise<Ort> {
  const { create, globals } = require("webgpu") as typeof import("webgpu");
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis.navigator, "gpu", { value: create([]), configurable: true });
  // Node's WebGPU refuses views of shared memory, which WebAssembly's is.
  const queue = GPUQueue.prototype;
  const { writeBuffer } = queue;
  queue.writeBuffer = function (this: GPUQueue, buffer, at, source: Uint8Array<ArrayBuffer>, from = 0, size) {
    const view = ArrayBuffer.isView(source) ? source : new Uint8Array(source);
    const end = size === undefined ? undefined : from + size;
    return writeBuffer.call(this, buffer, at, view.slice(from, end));
  } as GPUQueue["writeBuffer"];
  const main = require.resolve("onnxruntime-web/webgpu");
  const ort = (await import(pathToFileURL(`${dirname(main)}/ort.webgpu.min.mjs`).href)) as Ort;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = pathToFileURL(`${dirname(main)}/`).href;
  return ort;
}
