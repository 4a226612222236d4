// Writes a checkpoint of full size with seeded random weights, to measure loading, memory and speed without a download:
//
//   node test/random_checkpoint.ts --shape fastvlm-0.5b --dtype bf16 --out /tmp/fastvlm-0.5b [--seed 1]
//
// Activations keep a sane size: matrices have a standard deviation near 1/√fan-in, norms are near 1, layer scales 0.1.

import { copyFile, type FileHandle, mkdir, mkdtemp, open, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FASTVITHD } from "../src/models/fastvithd/config.ts";
import { toHalf } from "../src/tensor/half.ts";
import { appleNames } from "../weights/names.ts";
import { encodeHeader } from "../weights/safetensors.ts";
import { randomFrom } from "./mutate.ts";
import { CONFIGS, type LanguageConfig, PREPROCESSOR } from "./random_shapes.ts";

/** A tensor to write: normal numbers of this mean and deviation, plus `centre` at the middle tap of each kernel. */
interface RandomTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean?: number;
  readonly std: number;
  readonly centre?: number;
}

type DType = "bf16" | "f16";

/** Prime, so that the rows of a matrix are shifted copies of each other rather than equal. */
const PERIOD = 262_147;
const CHUNK = 2 ** 21;
const MAX_SHARD_BYTES = 4e9;

function* tower(prefix: string, rename: (timm: string) => string): Generator<RandomTensor> {
  const { layers, embedDims, mlpRatio, outputChannels } = FASTVITHD;
  const at = (name: string) => prefix + rename(name);
  const vector = (name: string, size: number, mean = 0, std = 0.02) => ({ name: at(name), shape: [size], mean, std });
  // GELU halves the variance; √2 makes up for it.
  function* conv(name: string, outputs: number, fan: number, kernel: number, options: Partial<RandomTensor> = {}) {
    const std = Math.sqrt(2 / (fan * kernel * kernel));
    yield { name: at(`${name}.weight`), shape: [outputs, fan, kernel, kernel], std, ...options };
    yield vector(`${name}.bias`, outputs);
  }
  const skip = { std: 0.05, centre: 1 };
  const gamma = (name: string, size: number) => ({
    name: at(`${name}.gamma`),
    shape: [size, 1, 1],
    mean: 0.1,
    std: 0.01,
  });
  yield* conv("stem.0.reparam_conv", embedDims[0], 3, 3);
  yield* conv("stem.1.reparam_conv", embedDims[0], 1, 3);
  yield* conv("stem.2.reparam_conv", embedDims[0], embedDims[0], 1);
  for (const [s, channels] of embedDims.entries()) {
    const stage = `stages.${s}`;
    if (s > 0) yield* conv(`${stage}.downsample.proj.0.reparam_conv`, channels, 1, 7);
    if (s > 0) yield* conv(`${stage}.downsample.proj.1.reparam_conv`, channels, channels, 1);
    if (s > 2) yield* conv(`${stage}.pos_emb.reparam_conv`, channels, 1, 7, skip);
    for (let b = 0; b < layers[s]!; b++) {
      const block = `${stage}.blocks.${b}`;
      if (s > 2) {
        yield vector(`${block}.norm.weight`, channels, 1);
        yield vector(`${block}.norm.bias`, channels);
        const std = 1 / Math.sqrt(channels);
        yield { name: at(`${block}.token_mixer.qkv.weight`), shape: [3 * channels, channels], std };
        yield { name: at(`${block}.token_mixer.proj.weight`), shape: [channels, channels], std };
        yield vector(`${block}.token_mixer.proj.bias`, channels);
        yield gamma(`${block}.layer_scale_1`, channels);
        yield gamma(`${block}.layer_scale_2`, channels);
      } else {
        yield* conv(`${block}.token_mixer.reparam_conv`, channels, 1, 3, skip);
        yield gamma(`${block}.layer_scale`, channels);
      }
      yield { name: at(`${block}.mlp.conv.conv.weight`), shape: [channels, 1, 7, 7], std: 1 / 7 };
      for (const [name, mean] of Object.entries({ weight: 1, bias: 0, running_mean: 0, running_var: 1 })) {
        yield vector(`${block}.mlp.conv.bn.${name}`, channels, mean, 0.05);
      }
      yield* conv(`${block}.mlp.fc1`, mlpRatio * channels, channels, 1);
      yield* conv(`${block}.mlp.fc2`, channels, mlpRatio * channels, 1);
    }
  }
  yield* conv("final_conv.reparam_conv", outputChannels, 1, 3);
  yield* conv("final_conv.se.fc1", outputChannels / 16, outputChannels, 1);
  yield* conv("final_conv.se.fc2", outputChannels, outputChannels / 16, 1);
}

function* linear(name: string, outputs: number, inputs: number, gain = 1, bias = false): Generator<RandomTensor> {
  yield { name: `${name}.weight`, shape: [outputs, inputs], std: gain / Math.sqrt(inputs) };
  if (bias) yield { name: `${name}.bias`, shape: [outputs], std: 0.02 };
}

function* language(config: LanguageConfig): Generator<RandomTensor> {
  const { hidden_size: D, intermediate_size: I, num_hidden_layers: L, vocab_size: V } = config;
  const headDim = D / config.num_attention_heads;
  const kv = config.num_key_value_heads * headDim;
  const norm = (name: string) => ({ name: `${name}.weight`, shape: [D], mean: 1, std: 0.02 });
  yield* linear("model.embed_tokens", V, D, 2);
  // Every layer adds to the residual stream twice.
  const residual = 1 / Math.sqrt(2 * L);
  for (let i = 0; i < L; i++) {
    const layer = `model.layers.${i}`;
    yield norm(`${layer}.input_layernorm`);
    if (config.model_type === "phi3") {
      yield* linear(`${layer}.self_attn.qkv_proj`, D + 2 * kv, D);
      yield* linear(`${layer}.mlp.gate_up_proj`, 2 * I, D);
    } else {
      yield* linear(`${layer}.self_attn.q_proj`, D, D, 1, true);
      yield* linear(`${layer}.self_attn.k_proj`, kv, D, 1, true);
      yield* linear(`${layer}.self_attn.v_proj`, kv, D, 1, true);
      yield* linear(`${layer}.mlp.gate_proj`, I, D);
      yield* linear(`${layer}.mlp.up_proj`, I, D);
    }
    yield* linear(`${layer}.self_attn.o_proj`, D, D, residual);
    yield norm(`${layer}.post_attention_layernorm`);
    yield* linear(`${layer}.mlp.down_proj`, D, I, residual);
  }
  yield norm("model.norm");
  if (!config.tied) yield* linear("lm_head", V, D, 2);
}

function tensorsOf(shape: string): RandomTensor[] {
  const { language: text, config } = CONFIGS[shape]!;
  if (!text) return [...tower("", (timm) => timm)];
  if (config.model_type !== "llava_qwen2") return [...language(text)];
  const { hidden_size: D } = text;
  return [
    ...language(text),
    ...tower("model.vision_tower.vision_tower.model.", appleNames),
    ...linear("model.mm_projector.0", D, FASTVITHD.outputChannels, 1, true),
    ...linear("model.mm_projector.2", D, D, 1, true),
  ];
}

/** One period of normal numbers, as f64. */
function normals(seed: number): Float64Array {
  const random = randomFrom(seed);
  return Float64Array.from({ length: PERIOD }, () => {
    return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  });
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

function toBrain(x: number): number {
  single[0] = x;
  return (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16;
}

/** Writes tensors one after another; equal deviations share one block of numbers. */
class Writer {
  readonly #blocks = new Map<string, Uint16Array>();
  readonly #noise: Float64Array;
  readonly #encode: (x: number) => number;
  #phase = 0;

  constructor(seed: number, dtype: DType) {
    this.#noise = normals(seed);
    this.#encode = dtype === "bf16" ? toBrain : toHalf;
  }

  async write(file: FileHandle, { shape, mean = 0, std, centre }: RandomTensor): Promise<void> {
    const block = this.#block(mean, std);
    const size = shape.reduce((product, axis) => product * axis, 1);
    for (let from = 0; from < size; from += CHUNK) {
      const chunk = new Uint16Array(Math.min(CHUNK, size - from));
      for (let at = 0; at < chunk.length; ) {
        const part = block.subarray(this.#phase, this.#phase + chunk.length - at);
        chunk.set(part, at);
        at += part.length;
        this.#phase = (this.#phase + part.length) % PERIOD;
      }
      if (centre !== undefined) {
        const taps = (shape[2] ?? 1) * (shape[3] ?? 1);
        for (let at = (taps - 1) / 2; at < chunk.length; at += taps) chunk[at] = this.#encode(centre);
      }
      await file.appendFile(new Uint8Array(chunk.buffer));
    }
  }

  #block(mean: number, std: number): Uint16Array {
    const key = `${mean} ${std}`;
    const known = this.#blocks.get(key) ?? Uint16Array.from(this.#noise, (x) => this.#encode(mean + std * x));
    this.#blocks.set(key, known);
    return known;
  }
}

const bytesOf = ({ shape }: RandomTensor): number => shape.reduce((product, axis) => product * axis, 2);

function shardsOf(tensors: readonly RandomTensor[]): RandomTensor[][] {
  const shards: RandomTensor[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + bytesOf(tensor) > MAX_SHARD_BYTES) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)?.push(tensor);
    bytes += bytesOf(tensor);
  }
  return shards;
}

async function writeCheckpoint(folder: string, shape: string, dtype: DType, seed: number): Promise<number> {
  const { config, tokenizer, generation } = CONFIGS[shape]!;
  const json = (file: string, value: unknown) => writeFile(join(folder, file), `${JSON.stringify(value, null, 2)}\n`);
  const writer = new Writer(seed, dtype);
  const shards = shardsOf(tensorsOf(shape));
  const count = String(shards.length).padStart(5, "0");
  const map: Record<string, string> = {};
  let total = 0;
  for (const [i, shard] of shards.entries()) {
    const several = `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`;
    const name = shards.length === 1 ? "model.safetensors" : several;
    const file = await open(join(folder, name), "w");
    try {
      const stored = dtype === "bf16" ? "BF16" : "F16";
      const entries = shard.map((tensor) => [tensor.name, { dtype: stored, shape: tensor.shape }] as const);
      await file.appendFile(encodeHeader(entries, { format: "pt" }));
      for (const tensor of shard) {
        await writer.write(file, tensor);
        map[tensor.name] = name;
        total += bytesOf(tensor);
      }
    } finally {
      await file.close();
    }
  }
  if (shards.length > 1) {
    await json("model.safetensors.index.json", { metadata: { total_size: total }, weight_map: map });
  }
  await json("config.json", { ...config, torch_dtype: dtype === "bf16" ? "bfloat16" : "float16" });
  if (generation) await json("generation_config.json", generation);
  if (config.model_type === "llava_qwen2") await json("preprocessor_config.json", PREPROCESSOR);
  if (tokenizer) {
    const golden = fileURLToPath(new URL(`./golden/models/${tokenizer}/tokenizer.json`, import.meta.url));
    await copyFile(golden, join(folder, "tokenizer.json"));
  }
  return total;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      shape: { type: "string", default: "" },
      dtype: { type: "string", default: "bf16" },
      out: { type: "string", default: "" },
      seed: { type: "string", default: "1" },
    },
  });
  const { shape, dtype, out } = values;
  const seed = Number(values.seed);
  if (!Object.hasOwn(CONFIGS, shape)) throw new Error(`--shape: expected ${Object.keys(CONFIGS).join(", ")}`);
  if (dtype !== "bf16" && dtype !== "f16") throw new Error("--dtype: expected bf16 or f16");
  if (!Number.isInteger(seed)) throw new Error("--seed: expected a whole number");
  if (!out) throw new Error("--out: expected a folder to make");
  if (await stat(out).catch(() => undefined)) throw new Error(`--out: ${out} exists already`);
  const target = resolve(out);
  await mkdir(dirname(target), { recursive: true });
  // Only a complete checkpoint ever bears the name.
  const partial = await mkdtemp(`${target}.partial-`);
  try {
    const bytes = await writeCheckpoint(partial, shape, dtype, seed);
    await rename(partial, target);
    console.log(`${target}: ${shape}, ${(bytes / 1e9).toFixed(2)} GB of ${dtype} weights`);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
