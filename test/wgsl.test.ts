import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

const folder = new URL("../shaders/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), "utf8");
const names = readdirSync(folder).filter((name) => name.endsWith(".wgsl") && /subgroup_matrix_left/.test(read(name)));

/** What the dispatchers generate in front of these shaders. */
const CONSTANTS: Readonly<Record<string, number>> = { SPLIT: 2, HEAD_DIM: 64, SUBGROUPS: 4 };

describe("shaders with matrices are WGSL, also where no adapter has any", () => {
  let device: GPUDevice;
  let api: GPU; // kept: Dawn crashes when an instance is collected before its devices

  before(async () => {
    const { create, globals } = await import("webgpu");
    Object.assign(globalThis, globals);
    // Dawn's backend that computes nothing has every feature.
    api = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
    const adapter = await api.requestAdapter();
    const features = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
    device = await adapter!.requestDevice({ requiredFeatures: features });
  });
  after(() => device.destroy());

  for (const name of names) {
    test(name, async () => {
      const text = read(name);
      const buffers = [...text.matchAll(/var<storage, \w+> (\w+):/g)].map(([, buffer]) => `alias ${buffer}_t = f16;`);
      const constants = Object.entries(CONSTANTS)
        .filter(([constant]) => !text.includes(`const ${constant} `))
        .map(([constant, value]) => `const ${constant} = ${value}u;`);
      const enables = ["f16", "subgroups", "chromium_experimental_subgroup_matrix"].map((e) => `enable ${e};`);
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ code: [...enables, ...buffers, ...constants, "\n", text].join(" ") });
      const { messages } = await module.getCompilationInfo();
      await device.popErrorScope();
      assert.deepEqual(
        messages.map(({ type, lineNum, message }) => `${type} ${lineNum - 1}: ${message}`),
        [],
      );
    });
  }
});
