import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cpuLanes, hasCpuLanes } from "../kernels/lanes.ts";
import { widenVectors } from "../src/node/vector_width.ts";
import { gpu } from "./gpu.ts";

const WIDE = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512dq avx512cd avx512bw avx512vl\nbugs\t\t:\n";

const widened = (env: NodeJS.ProcessEnv, cpuinfo: string): NodeJS.ProcessEnv => {
  widenVectors(env, () => cpuinfo);
  return env;
};

test("Mesa's driver for CPUs takes vectors of 512 bits where the CPU has them, and keeps its shaders apart", () => {
  const wide = { LP_NATIVE_VECTOR_WIDTH: "512", GALLIVM_PERF: "no_quad_lod" };
  assert.deepEqual(widened({}, WIDE), wide);
  assert.deepEqual(widened({ GALLIVM_PERF: "nopt" }, WIDE), { ...wide, GALLIVM_PERF: "nopt,no_quad_lod" });
  assert.deepEqual(widened({}, WIDE.replace(" avx512vl", "")), {});
  assert.deepEqual(widened({}, "CPU architecture: 8\nFeatures\t: fp asimd\n"), {});
  assert.deepEqual(widened({}, ""), {});
});

test("what the user has set of it stays", () => {
  assert.deepEqual(widened({ LP_NATIVE_VECTOR_WIDTH: "256" }, WIDE), { LP_NATIVE_VECTOR_WIDTH: "256" });
});

test("the shaders for CPUs are right with vectors of the other width as well", {
  skip: !hasCpuLanes(gpu.adapter) && "the adapter is not Mesa's for CPUs",
}, async () => {
  const { NODE_TEST_CONTEXT: _, GALLIVM_PERF: __, ...env } = process.env;
  // Of the adapter's own width, every kernel test runs anyway.
  const other =
    cpuLanes(gpu.adapter) === 16
      ? { LP_NATIVE_VECTOR_WIDTH: "256" }
      : { LP_NATIVE_VECTOR_WIDTH: "512", GALLIVM_PERF: "no_quad_lod" };
  const flags = ["--disable-warning=ExperimentalWarning", "--test", "--test-isolation=none", "--test-reporter=tap"];
  const file = fileURLToPath(new URL("kernels.test.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, "--test-name-pattern=lanes", file], {
    env: { ...env, ...other },
    maxBuffer: 1 << 26,
  });
  // Where the driver took no notice, all are skipped.
  const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
  assert.ok(passed > 60, `${passed} tests passed`);
});
