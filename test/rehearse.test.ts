// Models of published sizes, of which only shapes are known: whatever loading asks of a GPU, the adapters at hand must be able to do.
import { describe, test } from "node:test";
import { DRY_ADAPTER } from "../src/gpu/device.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { assemble, openParts } from "../src/pipeline/assemble.ts";
import { rehearse } from "../src/pipeline/rehearse.ts";
import "./gpu.ts"; // shaders
import { randomFolder } from "./random_folder.ts";

const card = { ...DRY_ADAPTER, software: false };
const wide = { ...card, subgroups: true, subgroupMinSize: 32, subgroupMaxSize: 32 };
const subgroupMatrices = [{ component: "f16", result: "f32", M: 16, N: 16, K: 16 }];
const ADAPTERS = {
  "no subgroups": card,
  "subgroups of 32": wide,
  matrices: { ...wide, f16: true, workgroupBytes: 49152, subgroupMatrices },
};
/** What WebGPU guarantees; one part of a tensor is no larger. */
const GUARANTEED_BYTES = 2 ** 27;

describe("models rehearse where bindings are no larger than WebGPU guarantees", () => {
  for (const shape of ["fastvlm-1.5b", "fastvlm-phi-4-mini", "fastvlm-phi-4"]) {
    for (const [name, adapter] of Object.entries(ADAPTERS)) {
      test(`${shape}, ${name}`, async () => {
        const parts = await openParts({ language: randomFolder(shape) });
        for (const formats of [undefined, { linear: "int4" } as const]) {
          const gpu = Object.assign(Gpu.dry(), { adapter, maxBindingBytes: GUARANTEED_BYTES });
          const { model } = assemble(gpu, parts, "f16", { formats });
          await rehearse(model, 1024);
        }
      });
    }
  }
});
