import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { scaleBytes } from "../kernels/scale_bytes.ts";
import type { FastVLMModel } from "../src/models/fastvlm.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { assemble, assembleTower, openParts, type Parts } from "../src/pipeline/assemble.ts";
import { Generation } from "../src/pipeline/generation.ts";
import { writeBytes } from "../src/pipeline/pixels.ts";
import { Sampler } from "../src/pipeline/sampling.ts";
import { Scheduler } from "../src/pipeline/scheduler.ts";
import { Sequence } from "../src/pipeline/sequence.ts";
import { Trace } from "../src/pipeline/trace.ts";
import { toHalfArray } from "../src/tensor/half.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { Weights } from "../weights/weights.ts";
import { assertClose, GOLDEN, type GoldenTensor, manifest, readTensors } from "./golden.ts";
import { gpu } from "./gpu.ts";
import { sharded } from "./shards.ts";

/** In front of a model: deal its weights out over several files first. */
const SHARDED = "shards of ";

type Precision = "f32" | "f16";

/** Token ids, and slots where an image's tokens go. */
type PromptToken = number | { readonly image: number };

/** Other names in our traces. */
const ALIASES: Readonly<Record<string, string>> = {
  "seed.projected": "projector.out",
  image_features: "projector.out",
};

const modelDir = (model: string): string => fileURLToPath(new URL(model, GOLDEN));

async function load(
  model: string,
  dtype: Precision,
): Promise<{ model: FastVLMModel; weights: readonly Weights[]; parts: Parts }> {
  const parts = await openParts({
    language: model.startsWith(SHARDED)
      ? sharded(new URL(`${model.slice(SHARDED.length)}/`, GOLDEN), 3)
      : await nodeFolder(modelDir(model)),
  });
  const assembled = assemble(gpu, parts, dtype);
  for (const weights of assembled.weights) await weights.load();
  return { ...assembled, parts };
}

/** Image markers (runs of the vocabulary's image id, or -200) become slots. */
function promptOf(ids: GoldenTensor, imageId: unknown, tokensPerImage: number): PromptToken[] {
  const list = Array.from(ids.data as BigInt64Array, Number);
  const prompt: PromptToken[] = [];
  let images = 0;
  for (let i = 0; i < list.length; i++) {
    const id = list[i]!;
    if (id >= 0 && id !== imageId) prompt.push(id);
    else {
      prompt.push({ image: images++ });
      if (id >= 0) i += tokensPerImage - 1;
    }
  }
  return prompt;
}

/** RGB bytes [B, H, W, 3] as the tower wants them. */
function uploadBytes({ shape, bytes }: { shape: number[]; bytes: Uint8Array }, dtype: "f32" | "f16"): Tensor {
  return gpu.scope(() => {
    const words = gpu.empty([Math.ceil(bytes.length / 4)], "u32");
    writeBytes(words, bytes);
    return scaleBytes(words, shape, dtype);
  });
}

/** Pixels of a run as [B, H, W, 3] bytes. */
function pixelsOf(
  run: Readonly<Record<string, GoldenTensor>>,
  prefix = "",
): { shape: number[]; bytes: Uint8Array } | undefined {
  const hwc = run[`${prefix}image_u8`];
  if (hwc) return { shape: [1, ...hwc.shape], bytes: hwc.data as Uint8Array };
  const chw = run[`${prefix}pixel_u8`];
  if (!chw) return undefined;
  const [B = 1, C = 3, H = 1, W = 1] = chw.shape;
  const bytes = new Uint8Array(chw.data.length);
  for (let i = 0; i < bytes.length; i++) {
    const [c, p] = [i % C, Math.floor(i / C)];
    bytes[i] = Number(chw.data[(Math.floor(p / (H * W)) * C + c) * H * W + (p % (H * W))]);
  }
  return { shape: [B, H, W, C], bytes };
}

type Stages = Readonly<Record<string, { shape: number[]; data: Float32Array }>>;

/** Compares every golden stage with the trace; the first that differs fails. */
function compareStages(
  name: string,
  want: Readonly<Record<string, GoldenTensor>>,
  stages: Stages,
  dtype: Precision,
  prefix = "",
): void {
  for (const [key, { tol_f32, tol_f16 }] of Object.entries(manifest.runs[name]!.tensors)) {
    const tolerance = dtype === "f32" ? tol_f32 : tol_f16;
    if (!tolerance || !key.startsWith(prefix) || /^(logits|greedy_logits|pixel_values|inputs_embeds)$/.test(key))
      continue;
    const stage = key.slice(prefix.length);
    const got = stages[ALIASES[stage] ?? stage]?.data ?? columns(stages, stage, want[key]!.shape);
    assert.ok(got, `${key}: not in the trace`);
    assertClose(`${name} ${dtype} ${key}`, got, want[key]!.data as Float32Array, tolerance);
  }
}

/** Qwen2's separate projections are columns of our packed ones. */
function columns(stages: Stages, stage: string, [rows = 0, width = 0]: readonly number[]): Float32Array | undefined {
  const part = /^(.*)\.(q_proj|k_proj|v_proj|gate_proj|up_proj)$/.exec(stage);
  const packed = part && stages[`${part[1]}.${/gate|up/.test(part[2]!) ? "gate_up_proj" : "qkv_proj"}`];
  if (!packed) return undefined;
  const total = packed.shape[1]!;
  const start = { q_proj: 0, k_proj: total - 2 * width, v_proj: total - width, gate_proj: 0, up_proj: width }[
    part[2]!
  ]!;
  return Float32Array.from(
    { length: rows * width },
    (_, i) => packed.data[Math.floor(i / width) * total + start + (i % width)]!,
  );
}

/** Greedy decoding of a prompt whose image tokens are at hand. */
function generate(model: FastVLMModel, prompt: readonly PromptToken[], images: readonly Tensor[], part?: number) {
  const sequence = new Sequence(model);
  sequence.begin(
    prompt.map((item) =>
      typeof item === "number" ? item : { key: `${item.image}`, tokens: images[item.image]!.shape[0]! },
    ),
  );
  const features = new Map(images.map((tokens, i) => [`${i}`, tokens]));
  const { vocabSize } = model.decoder.config;
  const sampler = new Sampler(gpu, {}, { vocabulary: vocabSize, columns: vocabSize, context: [] });
  const eyes = { acquire: async () => ({ tokens: features, seen: Promise.resolve() }), release() {} };
  const generation = new Generation(sequence, new Scheduler(model), { eyes, sampler, part });
  return {
    next: () => generation.next(),
    free() {
      generation.free();
      sequence.free();
    },
  };
}

/** Runs a golden prompt through tower, connector and language model, and checks stages, logits and greedy tokens. */
async function checkRun(name: string, modelName: string, dtype: Precision): Promise<void> {
  const want = readTensors(manifest.runs[name]!.file);
  const { model, weights, parts } = await load(modelName, dtype);
  const tensors = manifest.runs[name]!.tensors;
  const pixels = pixelsOf(want) ?? (model.eye && pixelsOf(readTensors("runs/fastvlm.main.safetensors")));
  const trace = new Trace(gpu);
  trace.record();
  const input = pixels && uploadBytes(pixels, dtype);
  const features = input ? [gpu.scope(() => gpu.keep(model.encode(input)))] : [];
  const images = features.flatMap((f) =>
    Array.from({ length: f.shape[0]! }, (_, i) => gpu.keep(f.rows(i, i + 1)).reshape(f.shape.slice(1))),
  );
  const prompt = promptOf(
    want.input_ids!,
    parts.language.checkpoint.config?.image_token_index,
    images[0]?.shape[0] ?? 0,
  );
  const tokens = Array.from((want.greedy_tokens ?? want.generated)!.data as BigInt64Array, Number);
  const generation = generate(model, prompt, images);
  const got = [await generation.next()];
  trace.record((stage) => stage === "logits");
  while (got.length < tokens.length) got.push(await generation.next());
  trace.stop();
  const stages = await trace.collect();
  compareStages(name, want, stages, dtype);
  const tolerance = tensors.greedy_logits?.[`tol_${dtype}`];
  if (tolerance && want.greedy_logits)
    assertClose(
      `${name} ${dtype} greedy_logits`,
      stages.logits!.data,
      want.greedy_logits.data as Float32Array,
      tolerance,
    );
  assert.deepEqual(got, tokens, `${name} ${dtype}: greedy tokens`);
  generation.free();
  if (want.logits && tensors.logits)
    await checkAllLogits(name, model, prompt, images, want.logits, tensors.logits[`tol_${dtype}`]!);
  for (const tensor of [...features, ...images, ...(input ? [input] : [])]) gpu.release(tensor);
  for (const w of weights) w.release();
}

/** Logits of every position of the prompt, in one pass. */
async function checkAllLogits(
  name: string,
  model: FastVLMModel,
  prompt: readonly PromptToken[],
  images: readonly Parameters<FastVLMModel["splice"]>[1][number]["tokens"][],
  want: GoldenTensor,
  tolerance: { atol: number; rtol: number },
): Promise<void> {
  const ids: number[] = [];
  const slots: Parameters<FastVLMModel["splice"]>[1][number][] = [];
  for (const token of prompt) {
    if (typeof token === "number") ids.push(token);
    else {
      slots.push({ at: ids.length, tokens: images[token.image]! });
      for (let i = 0; i < images[token.image]!.shape[0]!; i++) ids.push(0);
    }
  }
  const uploaded = gpu.upload([ids.length], "u32", Uint32Array.from(ids));
  const cache = model.decoder.cache(ids.length, model.dtype);
  model.decoder.rope.table(ids.length);
  const logits = gpu.scope(() =>
    gpu.keep(model.decoder.logits(model.decoder.forward(model.splice(uploaded, slots), cache))),
  );
  assertClose(`${name} logits`, await gpu.read(logits), want.data as Float32Array, tolerance);
  cache.free();
  gpu.release(logits);
  gpu.release(uploaded);
}

const RUNS: readonly (readonly [run: string, model: string])[] = [
  ["phi4_tiny.short", "models/phi4_tiny"],
  ["phi4_mini_tiny.short", "models/phi4_mini_tiny"],
  ["phi4_mini_tiny.long", "models/phi4_mini_tiny"],
  ["phi4_mini_tiny.crossing", "models/phi4_mini_tiny"],
  ["qwen2_tiny.short", "models/qwen2_tiny"],
  ["fastvlm.main", "models/fastvlm_hf"],
  ["fastvlm.main", `${SHARDED}models/fastvlm_hf`],
  ["fastvlm_llava.main", "models/fastvlm_llava"],
  ["fastvlm_hf_phi.main", "models/fastvlm_hf_phi"],
  ["fastvlm_phi4_seed.image", "models/fastvlm_phi4_seed"],
  ["fastvlm_phi4_seed.video", "models/fastvlm_phi4_seed"],
];

for (const dtype of ["f32", "f16"] as const) {
  const skip = dtype === "f16" && !gpu.adapter.f16 && "the adapter has no f16";
  for (const [run, model] of RUNS) test(`${run} of ${model}, ${dtype}`, { skip }, () => checkRun(run, model, dtype));

  test(`towers at other resolutions, ${dtype}`, { skip }, async () => {
    const name = "fastvlm.resolutions";
    const want = readTensors(manifest.runs[name]!.file);
    const { model, weights } = await load("models/fastvlm_hf", dtype);
    const cases = new Set(Object.keys(want).map((key) => key.split(".")[0]!));
    assert.equal(cases.size, 3);
    for (const prefix of cases) {
      const pixels = pixelsOf(want, `${prefix}.`)!;
      const input = uploadBytes(pixels, dtype);
      const trace = new Trace(gpu);
      trace.record();
      gpu.scope(() => void model.encode(input));
      trace.stop();
      compareStages(name, want, await trace.collect(), dtype, `${prefix}.`);
      gpu.release(input);
    }
    for (const w of weights) w.release();
  });

  test(`fastvit_train_timm: a tower folded from its training form, ${dtype}`, { skip }, async () => {
    const name = "fastvit_train_timm.main";
    const want = readTensors(manifest.runs[name]!.file);
    const { language: part } = await openParts({ language: await nodeFolder(modelDir("models/fastvit_train_timm")) });
    const weights = Weights.of(gpu, part.checkpoint, dtype);
    const tower = assembleTower(part, weights);
    await weights.load();
    const [, C = 3, H = 1, W = 1] = want.pixel_values!.shape;
    const nchw = want.pixel_values!.data as Float32Array;
    const nhwc = Float32Array.from(nchw, (_, i) => nchw[(i % C) * H * W + Math.floor(i / C)]!);
    const input = gpu.upload([1, H, W, C], dtype, dtype === "f16" ? toHalfArray(nhwc) : nhwc);
    const trace = new Trace(gpu);
    trace.record((stage) => stage === "vision.final_conv");
    gpu.scope(() => void tower.forward(input));
    trace.stop();
    const stages = await trace.collect();
    const key = "vision.final_conv";
    const tolerance = manifest.runs[name]!.tensors[key]![`tol_${dtype}`]!;
    assertClose(`${name} ${dtype}`, stages[key]!.data, want[key]!.data as Float32Array, tolerance);
    gpu.release(input);
    weights.release();
  });
}

test("a prompt read in parts gives what it gives in one pass, LongRoPE's long factors included", async () => {
  const want = readTensors(manifest.runs["phi4_mini_tiny.long"]!.file);
  const { model, weights } = await load("models/phi4_mini_tiny", "f32");
  const prompt = promptOf(want.input_ids!, undefined, 0);
  assert.ok(prompt.length > 64);
  const generation = generate(model, prompt, [], 64);
  const got = [await generation.next(), await generation.next(), await generation.next()];
  assert.deepEqual(got, Array.from(want.greedy_tokens!.data as BigInt64Array, Number).slice(0, 3));
  generation.free();
  for (const w of weights) w.release();
});
