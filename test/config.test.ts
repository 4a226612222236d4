import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ConfigError, FastVLMError, WeightError } from "../src/errors.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { connectorConfig } from "../src/models/connector_config.ts";
import { decoderConfig } from "../src/models/decoder/config.ts";
import { FASTVITHD, fastvithdConfig } from "../src/models/fastvithd/config.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { assemble, openParts } from "../src/pipeline/assemble.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFolder } from "../weights/folder.ts";
import { identify } from "../weights/formats.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { mutate, randomFrom } from "./mutate.ts";

const MODELS = fileURLToPath(new URL("./golden/models/", import.meta.url));
const readConfig = async (path: string) => JSON.parse(await readFile(MODELS + path, "utf8"));

/** Phi-4-mini-instruct's config.json. */
const factors = (length: number) => Array.from({ length }, (_, i) => 1 + i);
const PHI4_MINI = {
  model_type: "phi3",
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 24,
  num_key_value_heads: 8,
  vocab_size: 200064,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  partial_rotary_factor: 0.75,
  rope_scaling: { type: "longrope", short_factor: factors(48), long_factor: factors(48) },
  max_position_embeddings: 131072,
  original_max_position_embeddings: 4096,
  sliding_window: 262144,
  tie_word_embeddings: true,
  eos_token_id: 199999,
};

const refuses = (parse: () => unknown, message: RegExp) =>
  assert.throws(parse, (error: unknown) => error instanceof ConfigError && message.test(error.message));

describe("decoder configuration", () => {
  test("reads Phi-4-mini", () => {
    const { longRope, ...config } = decoderConfig(PHI4_MINI);
    assert.deepEqual(config, {
      modelType: "phi3",
      hiddenSize: 3072,
      layers: 32,
      heads: 24,
      kvHeads: 8,
      headDim: 128,
      intermediateSize: 8192,
      vocabSize: 200064,
      normEps: 1e-5,
      ropeTheta: 10000,
      rotaryDim: 96,
      attentionBias: false,
      fused: true,
      tied: true,
      maxPositions: 131072,
      eosTokens: [199999],
    });
    assert.equal(longRope?.original, 4096);
    assert.equal(longRope?.long.length, 48);
    assert.ok(Math.abs(longRope!.attentionFactor - 1.1902380714) < 1e-9);
  });

  for (const model of ["phi4_tiny", "phi4_mini_tiny", "qwen2_tiny"]) {
    test(`${model}: the spellings of transformers 4 and 5 say the same`, async () => {
      const old = decoderConfig(await readConfig(`${model}/config.json`));
      assert.deepEqual(decoderConfig(await readConfig(`${model}/config.v5.json`)), old);
      assert.equal(old.headDim * old.heads, old.hiddenSize);
    });
  }

  test("reads the text part of every multimodal fixture", async () => {
    assert.equal(decoderConfig((await readConfig("fastvlm_hf/config.json")).text_config).modelType, "qwen2");
    assert.equal(decoderConfig((await readConfig("fastvlm_hf_phi/config.json")).text_config).rotaryDim, 24);
    const llava = decoderConfig(await readConfig("fastvlm_llava/config.json"));
    assert.deepEqual([llava.modelType, llava.attentionBias, llava.fused, llava.ropeTheta], ["qwen2", true, false, 1e6]);
    assert.equal(decoderConfig(await readConfig("fastvlm_phi4_seed/config.json")).modelType, "phi3");
  });

  test("uses the defaults of transformers for absent keys", () => {
    const { layers, normEps, kvHeads, maxPositions } = decoderConfig({ model_type: "phi3" });
    assert.deepEqual([layers, normEps, kvHeads, maxPositions], [32, 1e-5, 32, 4096]);
    assert.equal(decoderConfig({ model_type: "qwen2" }).normEps, 1e-6);
  });

  test("explicit LongRoPE factors outweigh the computed one", () => {
    const with_ = (extra: object) =>
      decoderConfig({ ...PHI4_MINI, rope_scaling: { ...PHI4_MINI.rope_scaling, ...extra } });
    assert.equal(with_({ attention_factor: 1.5 }).longRope?.attentionFactor, 1.5);
    assert.equal(with_({ factor: 1 }).longRope?.attentionFactor, 1);
    assert.equal(with_({ type: "su" }).longRope?.original, 4096);
    assert.equal(with_({ original_max_position_embeddings: 8192 }).longRope?.original, 8192);
  });

  const wrong: [what: string, change: object, message: RegExp][] = [
    ["another architecture", { model_type: "llama" }, /model_type: expected phi3 or qwen2, got "llama"/],
    ["a size of zero", { hidden_size: 0 }, /hidden_size: expected a whole number from 1/],
    ["a negative size", { num_hidden_layers: -1 }, /num_hidden_layers/],
    ["a fraction", { vocab_size: 1.5 }, /vocab_size/],
    ["a string", { intermediate_size: "8192" }, /intermediate_size: .*got "8192"/],
    ["an absurd number", { num_hidden_layers: 1e9 }, /num_hidden_layers/],
    ["heads that do not divide", { num_key_value_heads: 7 }, /num_key_value_heads: expected a divisor of 24/],
    ["a hidden size that heads do not divide", { hidden_size: 3073 }, /hidden_size: expected a multiple of 24/],
    ["an odd rotary size", { partial_rotary_factor: 0.01 }, /even number of rotated elements/],
    ["another activation", { hidden_act: "gelu" }, /hidden_act: expected silu/],
    ["an active sliding window", { sliding_window: 2047 }, /sliding_window: expected null or at least 131072/],
    ["attention biases", { attention_bias: true }, /attention_bias: expected false/],
    ["feed-forward biases", { mlp_bias: true }, /mlp_bias: expected false/],
    ["quantisation", { quantization_config: { bits: 4 } }, /quantization_config: expected none/],
    [
      "another rope",
      { rope_scaling: { type: "linear", factor: 2 } },
      /type: expected default or longrope, got "linear"/,
    ],
    [
      "too few rope factors",
      { rope_scaling: { ...PHI4_MINI.rope_scaling, long_factor: [1] } },
      /long_factor: expected a list of 48/,
    ],
    ["no rope factors", { rope_scaling: { type: "longrope" } }, /short_factor/],
    ["a rope that is a string", { rope_scaling: "longrope" }, /rope_scaling: expected an object/],
    ["end tokens that are words", { eos_token_id: ["</s>"] }, /eos_token_id: expected token ids/],
  ];
  for (const [what, change, message] of wrong) {
    test(`refuses ${what}`, () => refuses(() => decoderConfig({ ...PHI4_MINI, ...change }), message));
  }

  test("Qwen2: a window counts only when it is used", () => {
    const qwen = { model_type: "qwen2", num_hidden_layers: 24, sliding_window: 4096, max_position_embeddings: 32768 };
    assert.equal(decoderConfig({ ...qwen, use_sliding_window: false }).layers, 24);
    assert.equal(decoderConfig({ ...qwen, use_sliding_window: true, max_window_layers: 24 }).layers, 24);
    refuses(() => decoderConfig({ ...qwen, use_sliding_window: true, max_window_layers: 10 }), /sliding_window/);
    refuses(() => decoderConfig({ ...qwen, rope_scaling: { type: "yarn", factor: 4 } }), /type: expected default/);
  });
});

describe("tower configuration", () => {
  test("Apple's files name the tower, transformers' give its sizes", async () => {
    assert.deepEqual(fastvithdConfig({ mm_vision_tower: "mobileclip_l_1024" }), FASTVITHD);
    assert.deepEqual(
      fastvithdConfig({ architecture: "fastvit_mci3", model_args: { inference_mode: true } }),
      FASTVITHD,
    );
    const tiny = fastvithdConfig((await readConfig("fastvlm_hf/config.json")).vision_config);
    assert.deepEqual([tiny.embedDims, tiny.outputChannels], [[12, 24, 48, 96, 192], 384]);
    assert.deepEqual(fastvithdConfig(await readConfig("fastvlm_llava/config.json")), tiny);
    assert.deepEqual(fastvithdConfig(await readConfig("fastvit_train_timm/config.json")).layers, [1, 1, 1, 1, 1]);
  });

  const wrong: [what: string, config: unknown, message: RegExp][] = [
    ["another tower", { mm_vision_tower: "openai/clip-vit-large-patch14-336" }, /mm_vision_tower/],
    ["another timm model", { architecture: "vit_base" }, /architecture: expected fastvit_mci3/],
    ["unknown arguments", { model_args: { lkc_use_act: false } }, /lkc_use_act/],
    ["four stages", { model_args: { layers: [1, 1, 1, 1] } }, /layers: expected a list of 5 whole numbers/],
    ["widths that do not double", { model_args: { embed_dims: [8, 16, 32, 64, 96] } }, /embed_dims/],
    ["heads that do not fit", { model_args: { embed_dims: [6, 12, 24, 48, 96] } }, /embed_dims/],
    ["endless blocks", { model_args: { layers: [1, 1, 1, 1, 1e6] } }, /layers/],
    ["a number", 7, /expected an object, got 7/],
  ];
  for (const [what, config, message] of wrong)
    test(`refuses ${what}`, () => refuses(() => fastvithdConfig(config), message));
});

describe("connector configuration", () => {
  const read = (config: object) => connectorConfig(config, 3072, 896);
  test("reads every kind", () => {
    const sizes = { inputs: 3072, outputs: 896 };
    assert.deepEqual(read({ model_type: "fast_vlm" }), { ...sizes, depth: 2, enhancer: false });
    assert.deepEqual(read({ model_type: "llava_qwen2", mm_projector_type: "mlp3x_gelu" }), {
      ...sizes,
      depth: 3,
      enhancer: false,
    });
    assert.equal(connectorConfig({ model_type: "llava_qwen2" }, 3072, 896, 3).depth, 3);
    const seed = { model_type: "fastvlm_phi4", mm_projector_type: "linear" };
    assert.deepEqual(read(seed), { ...sizes, depth: 1, pool: [16, 16], enhancer: true });
    assert.deepEqual(read({ ...seed, mm_adaptive_pool: [3, 4], mm_feature_enhancer: null }), {
      ...sizes,
      depth: 1,
      pool: [3, 4],
      enhancer: false,
    });
  });

  test("refuses what it does not know", () => {
    const llava = { model_type: "llava_qwen2" };
    refuses(() => read({ ...llava, mm_projector_type: "ldpnet" }), /mm_projector_type/);
    refuses(() => read({ ...llava, mm_projector_type: "mlp0x_gelu" }), /mm_projector_type/);
    refuses(() => read({ ...llava, mm_projector_type: "identity" }), /mm_projector_type/);
    refuses(() => read({ ...llava, mm_patch_merge_type: "spatial_unpad" }), /mm_patch_merge_type/);
    refuses(() => read({ ...llava, mm_hidden_size: 1024 }), /mm_hidden_size: expected 3072/);
    refuses(() => read({ model_type: "fast_vlm", projector_hidden_act: "relu" }), /projector_hidden_act/);
    refuses(() => read({ model_type: "fast_vlm", multimodal_projector_bias: false }), /multimodal_projector_bias/);
    refuses(() => read({ model_type: "fastvlm_phi4", mm_adaptive_pool: [0, 4] }), /mm_adaptive_pool/);
    refuses(() => read({ model_type: "fastvlm_phi4", mm_feature_enhancer: "conv" }), /mm_feature_enhancer/);
  });
});

describe("a connector whose tensors are not those that config.json says", () => {
  /** A fixture without the tensors that `without` matches, and with other settings. */
  const load = async (name: string, without: RegExp, settings: object = {}) => {
    const whole = await openCheckpoint(await nodeFolder(MODELS + name));
    const kept = [...whole.tensors.values()].filter((tensor) => !without.test(tensor.name));
    const tensors = await Promise.all(
      kept.map(async ({ name, dtype, shape }) => [name, { dtype, shape, data: await whole.bytes(name) }] as const),
    );
    const folder = memoryFolder({
      "config.json": new TextEncoder().encode(JSON.stringify({ ...whole.config, ...settings })),
      "model.safetensors": encodeSafetensors(Object.fromEntries(tensors)),
    });
    return assemble(Gpu.dry(), await openParts({ language: folder }), "f32");
  };
  const wrong: [what: string, model: string, without: RegExp, settings: object, message: RegExp][] = [
    [
      "half a projector",
      "fastvlm_hf",
      /linear_2/,
      {},
      /projector.*2 linear layers.*got 1: .*linear_2\.weight is not in/,
    ],
    ["the other half", "fastvlm_hf", /linear_1/, {}, /got 1: model\.multi_modal_projector\.linear_1\.weight is not in/],
    ["half of Apple's", "fastvlm_llava", /projector\.2/, {}, /got 1: model\.mm_projector\.2\.weight is not in/],
    [
      "a layer too many",
      "fastvlm_llava",
      /^$/,
      { mm_projector_type: "mlp1x_gelu" },
      /expected 1 linear layers, by config.json, got 2: model\.mm_projector\.2\.weight has no place/,
    ],
    [
      "one layer of three",
      "fastvlm_phi4_seed",
      /^$/,
      { mm_projector_type: "mlp3x_gelu" },
      /multi_modal_projector\.0\.weight is not in .*multi_modal_projector\.4\.weight is not in/,
    ],
    [
      "no feature enhancer",
      "fastvlm_phi4_seed",
      /feature_enhancer/,
      {},
      /feature enhancer.*got 0: feature_enhancer\.0\.weight is not in .*feature_enhancer\.2\.weight is not in/,
    ],
    [
      "half a feature enhancer",
      "fastvlm_phi4_seed",
      /enhancer\.0/,
      {},
      /got 1: model\.vision_tower\.feature_enhancer\.0\.weight is not in/,
    ],
    [
      "a feature enhancer that is to be left out",
      "fastvlm_phi4_seed",
      /^$/,
      { mm_feature_enhancer: null },
      /feature enhancer.*expected 0 .*feature_enhancer\.0\.weight has no place/,
    ],
  ];
  for (const [what, model, without, settings, message] of wrong) {
    test(`is refused: ${what}`, async () => {
      await assert.rejects(load(model, without, settings), (error: unknown) => {
        assert.ok(error instanceof WeightError, String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }

  test("a feature enhancer that is left out, and a depth that goes without saying, are as good", async () => {
    await load("fastvlm_phi4_seed", /feature_enhancer/, { mm_feature_enhancer: null });
    await load("fastvlm_llava", /^$/, { mm_projector_type: undefined });
  });
});

const ODDITIES = [null, 0, -1, 1.5, 1e300, "", "abc", "64", true, [], {}, [1, 2], [null], { type: "longrope" }];

/** The object with the value of a random key, at any depth, replaced by an oddity. */
function disturb(value: unknown, random: () => number): unknown {
  if (typeof value !== "object" || value === null || random() < 0.2) {
    return ODDITIES[Math.floor(random() * ODDITIES.length)];
  }
  const keys = Object.keys(value);
  const key = keys[Math.floor(random() * keys.length)] ?? "x";
  const changed = disturb((value as Record<string, unknown>)[key], random);
  return Array.isArray(value) ? value.with(Number(key), changed) : { ...value, [key]: changed };
}

test("500 mutated config.json: a typed error, or sizes that make sense", async () => {
  const random = randomFrom(11);
  const names = ["phi4_mini_tiny", "qwen2_tiny", "fastvlm_phi4_seed", "fastvlm_llava", "fastvlm_hf"];
  const folders = await Promise.all(
    names.map(async (name) => ({
      config: await readFile(`${MODELS}${name}/config.json`),
      weights: await readFile(`${MODELS}${name}/model.safetensors`),
    })),
  );
  const outcomes = { parsed: 0, refused: 0 };
  for (let i = 0; i < 500; i++) {
    const { config, weights } = folders[i % folders.length]!;
    // Half damaged as text, half still JSON but with a value out of place.
    const mutated =
      i % 2 === 0
        ? mutate(config, random)
        : new TextEncoder().encode(JSON.stringify(disturb(JSON.parse(config.toString()), random)));
    try {
      const checkpoint = await openCheckpoint(memoryFolder({ "config.json": mutated, "model.safetensors": weights }));
      const { language, visionConfig, connectorConfig: connector } = await identify(checkpoint);
      const parsed = [
        decoderConfig(language?.config),
        fastvithdConfig(visionConfig),
        connectorConfig(connector, 384, 96),
      ];
      const sizes = parsed.flatMap((part) => Object.values(part).filter((value) => typeof value === "number"));
      assert.ok(sizes.every((size) => Number.isFinite(size) && size >= 0));
      outcomes.parsed++;
    } catch (error) {
      assert.ok(error instanceof FastVLMError, `mutation ${i}: ${String(error)}`);
      outcomes.refused++;
    }
  }
  assert.ok(outcomes.parsed > 20 && outcomes.refused > 100, JSON.stringify(outcomes));
});
