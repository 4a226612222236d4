// Answers by the shaders for GPUs whose subgroups have any number of lanes, which this machine's adapter runs as well.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { hasSubgroups } from "../kernels/lanes.ts";
import { FastVLM, type GenerateOptions } from "../src/node.ts";
import { installPlatform, platform } from "../src/pipeline/platform.ts";
import { warmUp } from "../src/pipeline/rehearse.ts";
import type { LoadOptions } from "../src/pipeline/types.ts";
import { golden, grey, resultOf } from "./answers.ts";
import { gpu } from "./gpu.ts";
import { openVarying } from "./varying.ts";

const usual = platform();
after(() => installPlatform(usual));

async function load(model: string, options: LoadOptions, openGpu = usual.openGpu): Promise<FastVLM> {
  installPlatform({ ...usual, openGpu });
  return FastVLM.load(golden(model), { autotune: false, ...options });
}

const REQUESTS: readonly GenerateOptions[] = [
  { prompt: "Count.", maxTokens: 8 },
  { prompt: "What is it?", maxTokens: 6 },
  { prompt: "b ".repeat(100), maxTokens: 6 },
];

const skip = !hasSubgroups(gpu.adapter) && "the adapter has no subgroups";

for (const [model, options] of [
  ["models/fastvlm_hf", { dtype: "f32" }],
  ["models/phi4_mini_tiny", { dtype: "f16" }],
  ["models/fastvlm_hf", { dtype: "f32", quantize: "int8" }],
] as const) {
  describe(`${model} ${JSON.stringify(options)}`, { skip }, () => {
    test("answers are the usual ones, alone and together", async () => {
      using plain = await load(model, options);
      using vlm = await load(model, options, openVarying);
      for (const request of REQUESTS) {
        const { tokens } = await resultOf(plain.generate(request));
        assert.deepEqual((await resultOf(vlm.generate(request))).tokens, tokens);
      }
      const together = await Promise.all(REQUESTS.map((request) => resultOf(vlm.generate(request))));
      const right = await Promise.all(REQUESTS.map((request) => resultOf(plain.generate(request))));
      assert.deepEqual(
        together.map(({ tokens }) => tokens),
        right.map(({ tokens }) => tokens),
      );
    });

    test("a layer decodes in five runs; nothing is compiled, made or bound after the first steps", async () => {
      using vlm = await load(model, options, openVarying);
      const own = vlm.gpu;
      const { layers } = vlm.model.decoder.config;
      const pipelines = [...own.variants.keys()];
      const counts: number[][] = [];
      for await (const { token } of vlm.generate({ prompt: "Count.", maxTokens: 8 }))
        if (token !== undefined) counts.push([own.memory.allocations, own.bindGroupsCreated, own.dispatches]);
      assert.deepEqual([...own.variants.keys()], pipelines);
      const [, , third, fourth, ...rest] = counts;
      for (const count of [fourth!, ...rest]) assert.deepEqual(count.slice(0, 2), third!.slice(0, 2));
      // Embedding, layers, norm and head, and the choice.
      assert.equal(fourth![2]! - third![2]!, 1 + 5 * layers + 1 + 1);
    });
  });
}

test("a GPU of its own has run every kind of pass when a model is loaded, and holds nothing of it", {
  skip,
}, async () => {
  using plain = await load("models/fastvlm_hf", { dtype: "f32" });
  using vlm = await load("models/fastvlm_hf", { dtype: "f32" }, openVarying);
  assert.equal(plain.gpu.dispatches, 0);
  assert.ok(vlm.gpu.dispatches > 5 * vlm.model.decoder.config.layers, `${vlm.gpu.dispatches} runs`);
  const { used } = vlm.gpu.memory;
  await warmUp(vlm.model, 64);
  assert.equal(vlm.gpu.memory.used, used);
});

test("a picture is the same to such an adapter", { skip }, async () => {
  const request = { images: [grey(90)], prompt: "What?", maxTokens: 4 };
  using plain = await load("models/fastvlm_hf", { dtype: "f32" });
  using vlm = await load("models/fastvlm_hf", { dtype: "f32" }, openVarying);
  assert.deepEqual((await resultOf(vlm.generate(request))).tokens, (await resultOf(plain.generate(request))).tokens);
});
