import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { suites } from "../kernels/all.ref.ts";
import { gpu } from "./gpu.ts";

test("every reference is in the list of suites", () => {
  const stems = readdirSync(new URL("../kernels/", import.meta.url)).filter((name) =>
    /^(?!all).*\.ref\.ts$/.test(name),
  );
  assert.deepEqual(suites.map((suite) => `${suite.name}.ref.ts`).sort(), stems.sort());
});

for (const dtype of ["f32", "f16"] as const) {
  for (const suite of suites) {
    describe(`${suite.name} ${dtype}`, () => {
      for (const [i, label] of suite.labels.entries()) {
        test(label, { skip: dtype === "f16" && !gpu.adapter.f16 && "the adapter has no f16" }, async (context) => {
          const { error, tolerance, skipped } = await suite.run(gpu, i, dtype);
          if (skipped) context.skip("not supported by this adapter");
          assert.ok(error <= tolerance, `error ${error} exceeds ${tolerance}`);
        });
      }
    });
  }
}
