// The engines, what each can run, and how one is measured. Every measurement is a process of its own.
import { linear } from "../../kernels/linear.ts";
import { openNodeGpu } from "../../src/node/adapter.ts";
import { FastVLM } from "../../src/node.ts";
import { randomFolder } from "../../test/random_folder.ts";
import { noise, prefillMs, prompt, seeMs, stepMs } from "../lib/passes.mts";
import { spread } from "../lib/stats.mts";
import { type Engine, type Job, type Pass, SHAPE, type Task } from "./job.mts";
import { llamaPass } from "./llama_cpp.mts";
import { onnxPass } from "./onnx_runtime.mts";
import { tensorflowPass } from "./tensorflow_js.mts";
import { transformersPass } from "./transformers_js.mts";

interface Peer {
  readonly kinds: readonly Task["kind"][];
  /** Why it runs nothing else. */
  readonly otherwise: string;
  open(job: Job): Promise<Pass>;
}

const ALL = ["vision", "decoder", "product"] as const;
const ORT = { kinds: ALL, otherwise: "" };
const LLAMA = { kinds: ["decoder"], otherwise: "node-llama-cpp runs language models only" } as const;

const PEERS = {
  ours: { kinds: ALL, otherwise: "", open: ourPass },
  "ort-node-webgpu": { ...ORT, open: (job) => onnxPass(job, "node", "webgpu") },
  "ort-web-webgpu": { ...ORT, open: (job) => onnxPass(job, "web", "webgpu") },
  "transformers-js-webgpu": {
    kinds: ["vision", "decoder"],
    otherwise: "transformers.js runs whole models only",
    open: transformersPass,
  },
  "tensorflow-js-webgpu": {
    kinds: ["vision", "product"],
    otherwise: "TensorFlow.js has no int4 products",
    open: tensorflowPass,
  },
  "llama-cpp-vulkan": { ...LLAMA, open: (job) => llamaPass(job, "vulkan") },
  "ort-node-cpu": { ...ORT, open: (job) => onnxPass(job, "node", "cpu") },
  "llama-cpp-cpu": { ...LLAMA, open: (job) => llamaPass(job, false) },
} satisfies Record<Engine, Peer>;

export const ENGINES = Object.keys(PEERS) as Engine[];

/** Why an engine cannot run a task, if it cannot. */
export function unfit(engine: Engine, { kind }: Task): string | undefined {
  const { kinds, otherwise }: Peer = PEERS[engine];
  return kinds.includes(kind) ? undefined : otherwise;
}

/** Milliseconds of a pass: the median of `runs` after a first one. */
export async function measureEngine(job: Job): Promise<{ readonly ms: number }> {
  const pass = await PEERS[job.engine].open(job);
  await pass();
  const times: number[] = [];
  for (let run = 0; run < job.runs; run++) times.push(await pass());
  return { ms: spread(times).median };
}

async function ourPass({ task }: Job): Promise<Pass> {
  if (task.kind === "product") return ourProduct(task);
  const quantize = task.kind === "decoder" ? ("int4" as const) : undefined;
  const { model } = await FastVLM.load(randomFolder(SHAPE), { quantize, embeddings: quantize });
  if (task.kind === "vision") return () => seeMs(model, task.size);
  const { tokens, past } = task;
  const cache = model.decoder.cache(past + tokens, model.dtype);
  const x = prompt(model, tokens);
  if (past === 0) return () => prefillMs(model, cache, x);
  const before = prompt(model, past);
  await prefillMs(model, cache, before);
  return () => stepMs(model, cache, past, x);
}

async function ourProduct({ rows, inputs, outputs }: Task & { kind: "product" }): Promise<Pass> {
  const gpu = await openNodeGpu();
  const half = gpu.adapter.f16 ? "f16" : "f32";
  const x = gpu.upload([rows, inputs], "f32", noise(rows * inputs, "f32"));
  const weight = gpu.upload([outputs, inputs], half, noise(outputs * inputs, half));
  await gpu.settled();
  return async () => {
    const started = performance.now();
    gpu.scope(() => void linear(x, weight));
    await gpu.settled();
    return performance.now() - started;
  };
}
