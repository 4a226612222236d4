// ONNX Runtime: its Node package with its own WebGPU or on the CPU, and its web build on Node's WebGPU.
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { decoderConfig } from "../../src/models/decoder/config.ts";
import { FASTVITHD } from "../../src/models/fastvithd/config.ts";
import { CONFIGS } from "../../test/random_shapes.ts";
import { decoderGraph, fasterLevel, fastvithdGraph, productGraph } from "./graphs.mts";
import { type Job, type Pass, SHAPE, type Task } from "./job.mts";

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

const require = createRequire(import.meta.url);
const QWEN = decoderConfig(CONFIGS[SHAPE]!.config);

export async function onnxPass(
  { task, threads, software }: Job,
  build: "node" | "web",
  provider: "webgpu" | "cpu",
): Promise<Pass> {
  const ort = build === "web" ? await onnxWeb() : (require("onnxruntime-node") as Ort);
  const { model, shape } = graphOf(task, fasterLevel(provider, software));
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(provider === "cpu" && { intraOpNumThreads: threads }),
  });
  const data = pattern(shape.reduce((a, b) => a * b));
  const feeds = { [session.inputNames[0]!]: new ort.Tensor("float32", data, shape) };
  return async () => {
    const started = performance.now();
    await session.run(feeds);
    return performance.now() - started;
  };
}

function graphOf(task: Task, accuracy: number): { model: Uint8Array; shape: readonly number[] } {
  if (task.kind === "vision") {
    return { model: fastvithdGraph(FASTVITHD, task.size, QWEN.hiddenSize), shape: [1, 3, task.size, task.size] };
  }
  if (task.kind === "product") return { model: productGraph(task), shape: [task.rows, task.inputs] };
  return { model: decoderGraph(QWEN, task, accuracy), shape: [1, task.tokens, QWEN.hiddenSize] };
}

/** Numbers between 0 and 1. */
export const pattern = (size: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => ((i * 7919) % 1021) / 1021);

/** Node's WebGPU as a browser has it. */
export function provideWebGpu(): void {
  const { create, globals } = require("webgpu") as typeof import("webgpu");
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis.navigator, "gpu", { value: create([]), configurable: true });
}

async function onnxWeb(): Promise<Ort> {
  provideWebGpu();
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
