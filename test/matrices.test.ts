import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { suites } from "../kernels/all.ref.ts";
import { openWithMatrices } from "./matrices.ts";

const gpu = await openWithMatrices();
/** Cases that need more memory than a workgroup has on CPUs or minutes there, or whose shaders others have compiled. */
const LEFT_OUT =
  /matrix_deep|matrix_wide|"headDim":(64|72)|"rows":(256|310|300|140)|"tokens":256|"outputs":4[,}]|maxBytes/;
/** Only cases that do have several parts, and of one format: each shader takes a CPU's compiler 20 s. */
const OTHER_PARTS = /matrix_parts(?!","rows":17|","format":"int4","rows":17)/;

describe("shaders with matrices compute what they should, one thread a matrix", {
  skip: !gpu && "no half precision",
}, () => {
  for (const suite of suites) {
    for (const [i, label] of suite.labels.entries()) {
      if (!/"variant":"matrix/.test(label) || LEFT_OUT.test(label) || OTHER_PARTS.test(label)) continue;
      test(`${suite.name} ${label}`, async () => {
        const { error, tolerance, skipped } = await suite.run(gpu!, i, "f16");
        assert.ok(!skipped);
        assert.ok(error <= tolerance, `error ${error} exceeds ${tolerance}`);
      });
    }
  }
});
