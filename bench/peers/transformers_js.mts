// transformers.js on WebGPU: a folder in the layout of its published FastVLM, with the task's network in it.
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { decoderConfig } from "../../src/models/decoder/config.ts";
import { FASTVITHD } from "../../src/models/fastvithd/config.ts";
import { CONFIGS } from "../../test/random_shapes.ts";
import { decoderGraph, fasterLevel, fastvithdGraph, identityGraph } from "./graphs.mts";
import { type Job, type Pass, SHAPE } from "./job.mts";
import { pattern } from "./onnx_runtime.mts";

interface Tensor {
  dispose(): void;
}

type Tensors = Readonly<Record<string, Tensor>>;

interface Model {
  encode_image(inputs: Tensors): Promise<unknown>;
  forward(inputs: Readonly<Record<string, unknown>>): Promise<Tensors>;
}

interface Transformers {
  readonly env: { allowRemoteModels: boolean };
  readonly Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: readonly number[]) => Tensor;
  readonly DynamicCache: new (entries: Tensors) => unknown;
  readonly AutoModelForImageTextToText: {
    from_pretrained(folder: string, options: Readonly<Record<string, unknown>>): Promise<Model>;
  };
}

const require = createRequire(import.meta.url);

export async function transformersPass({ task, folder, software }: Job): Promise<Pass> {
  const { config } = CONFIGS[SHAPE]!;
  const qwen = decoderConfig(config);
  // The parts that the task does not run pass their input on.
  const graphs = {
    embed_tokens: identityGraph("input_ids"),
    vision_encoder:
      task.kind === "vision" ? fastvithdGraph(FASTVITHD, task.size, qwen.hiddenSize) : identityGraph("pixel_values"),
    decoder_model_merged:
      task.kind === "decoder"
        ? decoderGraph(qwen, "grows", fasterLevel("webgpu", software))
        : identityGraph("inputs_embeds"),
  };
  mkdirSync(join(folder, "onnx"));
  for (const [name, graph] of Object.entries(graphs)) writeFileSync(join(folder, "onnx", `${name}.onnx`), graph);
  // Without layers it expects no keys and values from the language model.
  const layers = task.kind === "decoder" ? {} : { num_hidden_layers: 0 };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...layers }));
  const { env, Tensor, DynamicCache, AutoModelForImageTextToText } =
    require("@huggingface/transformers") as Transformers;
  env.allowRemoteModels = false;
  const options = { device: "webgpu", dtype: "fp32", local_files_only: true };
  const model = await AutoModelForImageTextToText.from_pretrained(folder, options);
  const timed = async (run: () => Promise<unknown>): Promise<number> => {
    const started = performance.now();
    await run();
    return performance.now() - started;
  };
  if (task.kind === "vision") {
    const shape = [1, 3, task.size, task.size];
    const pixels = new Tensor("float32", pattern(3 * task.size ** 2), shape);
    return () => timed(() => model.encode_image({ pixel_values: pixels }));
  }
  if (task.kind !== "decoder") throw new Error(`transformers.js: no ${task.kind}`);
  const feeds = (tokens: number, past: number): Tensors => ({
    inputs_embeds: new Tensor("float32", pattern(tokens * qwen.hiddenSize), [1, tokens, qwen.hiddenSize]),
    attention_mask: new Tensor("int64", new BigInt64Array(past + tokens).fill(1n), [1, past + tokens]),
  });
  const { tokens, past } = task;
  const after = async (): Promise<unknown> => {
    const outputs = Object.entries(await model.forward({ ...feeds(past, 0), past_key_values: null }));
    const kept = outputs.filter(([name]) => name.startsWith("present."));
    return new DynamicCache(
      Object.fromEntries(kept.map(([name, tensor]) => [name.replace("present", "past_key_values"), tensor])),
    );
  };
  const known = past === 0 ? null : await after();
  const inputs = { ...feeds(tokens, past), past_key_values: known };
  return async () => {
    let outputs: Tensors = {};
    const ms = await timed(async () => {
      outputs = await model.forward(inputs);
    });
    for (const output of Object.values(outputs)) output.dispose();
    return ms;
  };
}
