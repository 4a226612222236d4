// llama.cpp by node-llama-cpp: the language model in Q4_0, on Vulkan or the CPU.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { decoderConfig } from "../../src/models/decoder/config.ts";
import { CONFIGS } from "../../test/random_shapes.ts";
import { writeGguf } from "./gguf.mts";
import { type Job, type Pass, SHAPE } from "./job.mts";

type Token = number;

interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly Token[], options: Readonly<Record<string, unknown>>): AsyncGenerator<Token>;
}

interface Llama {
  loadModel(options: Readonly<Record<string, unknown>>): Promise<{
    createContext(options: Readonly<Record<string, unknown>>): Promise<{ getSequence(): Sequence }>;
  }>;
}

interface NodeLlamaCpp {
  getLlama(options: Readonly<Record<string, unknown>>): Promise<Llama>;
}

const require = createRequire(import.meta.url);

export async function llamaPass({ task, folder, software, threads }: Job, gpu: "vulkan" | false): Promise<Pass> {
  if (task.kind !== "decoder") throw new Error(`llama.cpp: no ${task.kind}`);
  // It skips devices that are CPUs unless they are asked for by number.
  if (software) process.env.GGML_VK_VISIBLE_DEVICES ??= "0";
  const modelPath = join(folder, "model.gguf");
  writeGguf(modelPath, decoderConfig(CONFIGS[SHAPE]!.config));
  const { getLlama } = (await import(pathToFileURL(require.resolve("node-llama-cpp")).href)) as NodeLlamaCpp;
  const llama = await getLlama({ gpu, build: "never", skipDownload: true, logLevel: "error" });
  const model = await llama.loadModel({ modelPath, gpuLayers: gpu ? "max" : 0 });
  const { tokens, past } = task;
  const length = past || tokens;
  const context = await model.createContext({ contextSize: length + 8, batchSize: length, threads });
  const sequence = context.getSequence();
  const ids = Array.from({ length }, (_, i) => 256 + ((i * 7919) % 400));
  return async () => {
    await sequence.clearHistory();
    const answer = sequence.evaluate(ids, { temperature: 0, yieldEogToken: true });
    let started = performance.now();
    await answer.next();
    if (past > 0) {
      started = performance.now();
      await answer.next();
    }
    const ms = performance.now() - started;
    await answer.return(undefined);
    return ms;
  };
}
