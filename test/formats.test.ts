import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ConfigError } from "../src/errors.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFolder } from "../weights/folder.ts";
import { identify, isIgnorable } from "../weights/formats.ts";
import { appleNames } from "../weights/names.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { sharded } from "./shards.ts";

const GOLDEN = fileURLToPath(new URL("./golden/", import.meta.url));
const openModel = async (name: string) => openCheckpoint(await nodeFolder(`${GOLDEN}models/${name}`));

/** A checkpoint with tensors of these names and this config.json. */
const inMemory = (names: readonly string[], config: unknown) => {
  const tensors = names.map((name) => [name, { dtype: "F32", shape: [1], data: Float32Array.of(1) }] as const);
  return openCheckpoint(
    memoryFolder({
      "config.json": new TextEncoder().encode(JSON.stringify(config)),
      "model.safetensors": encodeSafetensors(Object.fromEntries(tensors)),
    }),
  );
};

describe("names and formats", () => {
  test("appleNames translates all 628 tensors of the published tower", async () => {
    const lines = (await readFile(`${GOLDEN}keymap.csv`, "utf8")).trim().split("\n").slice(1);
    const rows = lines.map((line) => line.split(",").slice(0, 2) as [string, string]);
    const tower = rows.filter(([, timm]) => timm.startsWith("model.vision_tower.timm_model."));
    assert.equal(tower.length, 628);
    for (const [apple, timm] of tower) {
      const own = appleNames(timm.replace("model.vision_tower.timm_model.", ""));
      assert.equal(`model.vision_tower.vision_tower.model.${own}`, apple);
    }
  });

  test("the same model in three formats has the same tensors", async () => {
    const [single, llava] = await Promise.all(["fastvlm_hf", "fastvlm_llava"].map(openModel));
    const shards = await openCheckpoint(sharded(new URL("./golden/models/fastvlm_hf/", import.meta.url), 3));
    assert.deepEqual(new Set(single!.tensors.keys()), new Set(shards.tensors.keys()));
    const [hf, apple] = [await identify(single!), await identify(llava!)];
    const prefix = `${hf.vision!.prefix}.`;
    let compared = 0;
    for (const name of single!.tensors.keys()) {
      if (name.endsWith("num_batches_tracked")) continue;
      const other = name.startsWith(prefix)
        ? `${apple.vision!.prefix}.${appleNames(name.slice(prefix.length))}`
        : name
            .replace("model.language_model.", "model.")
            .replace("model.multi_modal_projector.linear_1", "model.mm_projector.0")
            .replace("model.multi_modal_projector.linear_2", "model.mm_projector.2");
      const got = await single!.readF32(name);
      assert.deepEqual(await shards.readF32(name), got, name);
      // Apple's format is bfloat16 here, of the same numbers.
      const want = await llava!.readF32(other);
      assert.ok(
        got.every((x, i) => Math.abs(x - want[i]!) <= 2 ** -8 * Math.abs(want[i]!) + 2 ** -24),
        name,
      );
      compared++;
    }
    assert.equal(compared, [...single!.tensors.keys()].filter((name) => !isIgnorable(name)).length);
  });

  const language = (prefix: string, head?: string) => ({ prefix, ...(head && { head }) });
  const expected: Readonly<Record<string, object>> = {
    fastvlm_hf: {
      kind: "fast_vlm",
      vision: { prefix: "model.vision_tower.timm_model", style: "timm" },
      projector: { modules: ["model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"] },
      language: language("model.language_model", "lm_head"),
      padToSquare: false,
      imageSize: 192,
    },
    fastvlm_hf_phi: { kind: "fast_vlm", language: language("model.language_model"), imageSize: 1024 },
    fastvlm_llava: {
      kind: "llava",
      vision: { prefix: "model.vision_tower.vision_tower.model", style: "apple" },
      projector: { modules: ["model.mm_projector.0", "model.mm_projector.2"] },
      language: language("model", "lm_head"),
      padToSquare: true,
      imageSize: 192,
    },
    fastvlm_phi4_seed: {
      kind: "fastvlm_phi4",
      projector: { modules: ["model.multi_modal_projector"] },
      enhancer: { modules: ["model.vision_tower.feature_enhancer.0", "model.vision_tower.feature_enhancer.2"] },
      imageSize: 256,
    },
    fastvit_train_timm: {
      kind: "fastvit",
      vision: { prefix: "", style: "timm" },
      language: undefined,
    },
    phi4_tiny: { kind: "text", vision: undefined, projector: undefined, language: language("model", "lm_head") },
    phi4_mini_tiny: { kind: "text", language: language("model") },
    qwen2_tiny: { kind: "text", language: language("model") },
  };
  for (const [name, want] of Object.entries(expected)) {
    test(`identifies ${name}`, async () => {
      const { language: found, ...format } = await identify(await openModel(name));
      const { config: _, ...names } = found ?? { config: undefined };
      const got: Record<string, unknown> = { ...format, language: found && names };
      for (const [key, value] of Object.entries(want)) assert.deepEqual(got[key], value, key);
    });
  }

  test("accepts the prefixes of older conversions", async () => {
    const format = await identify(
      await inMemory(
        [
          "language_model.model.embed_tokens.weight",
          "language_model.lm_head.weight",
          "vision_tower.timm_model.stem.0.reparam_conv.weight",
          "multi_modal_projector.linear_2.weight",
          "multi_modal_projector.linear_1.weight",
        ],
        { model_type: "fast_vlm" },
      ),
    );
    assert.equal(format.language?.prefix, "language_model.model");
    assert.equal(format.language?.head, "language_model.lm_head");
    assert.equal(format.vision?.prefix, "vision_tower.timm_model");
    assert.deepEqual(format.projector?.modules, ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2"]);
  });

  const refused: [what: string, tensors: string[], config: unknown, message: RegExp][] = [
    ["another architecture", ["x"], { model_type: "llama" }, /model_type: expected one of fast_vlm, .*got "llama"/],
    ["AWQ", ["x"], { model_type: "qwen2", quantization_config: { quant_method: "awq" } }, /quantised by awq/],
    [
      "quantised text in fast_vlm",
      ["x"],
      { model_type: "fast_vlm", text_config: { quantization_config: { quant_method: "gptq" } } },
      /text_config.*gptq/,
    ],
    ["MLX 4-bit", ["x"], { model_type: "qwen2", quantization: { bits: 4 } }, /quantised by MLX/],
    [
      "int4 tensors without a word in config.json",
      ["model.layers.0.mlp.up_proj.qweight"],
      { model_type: "qwen2" },
      /quantised checkpoint/,
    ],
    [
      "mlx-vlm",
      ["vision_tower.vision_model.patch_embed.blocks.0.reparam_conv.weight"],
      { model_type: "llava_qwen2" },
      /conversion for MLX/,
    ],
    [
      "Apple's MLX export",
      ["multi_modal_projector.linear_0.weight"],
      { model_type: "llava_qwen2" },
      /conversion for MLX/,
    ],
    ["a folder without model_type", ["x"], {}, /model_type/],
  ];
  for (const [what, tensors, config, message] of refused) {
    test(`refuses ${what} by name`, async () => {
      const checkpoint = await inMemory(tensors, config);
      await assert.rejects(
        identify(checkpoint),
        (error: unknown) => error instanceof ConfigError && message.test(error.message),
      );
    });
  }

  test("a projector alone is one, and tensors that do not fit config.json are named", async () => {
    const projector = await inMemory(["model.mm_projector.weight"], { model_type: "llava_qwen2" });
    assert.equal((await identify(projector)).kind, "projector");
    const wrong = await inMemory(["encoder.weight"], { model_type: "phi3" });
    await assert.rejects(identify(wrong), /expected the tensors of phi3, got names such as encoder.weight/);
  });

  test("every fixture is a format", async () => {
    for (const name of await readdir(`${GOLDEN}models`)) {
      const { vision, language } = await identify(await openModel(name));
      assert.ok(vision || language, name);
    }
  });
});
