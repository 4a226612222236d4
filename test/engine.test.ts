import assert from "node:assert/strict";
import { test } from "node:test";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { DeviceLostError, GpuError, ShapeError } from "../src/errors.ts";
import { DRY_ADAPTER, nameOf } from "../src/gpu/device.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { Pool, sizeClass } from "../src/gpu/pool.ts";
import { checkHeader, prelude } from "../src/gpu/wgsl.ts";
import { openNodeGpu } from "../src/node/adapter.ts";
import { fromHalf, toHalf } from "../src/tensor/half.ts";
import { gpu } from "./gpu.ts";

const numbers = (count: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: count }, (_, i) => i);

test("a scope frees what it does not return", () => {
  const before = gpu.memory.used;
  const kept = gpu.scope(() => {
    gpu.empty([100], "f32");
    return gpu.scope(() => gpu.empty([50], "f32"));
  });
  assert.equal(gpu.memory.used, before + sizeClass(200));
  gpu.release(kept);
  assert.equal(gpu.memory.used, before);
});

test("a trim takes what has lain longest, and leaves as much as was asked for", () => {
  const pool = new Pool(null, 2 ** 20);
  const [a, b, c] = [pool.take(1024), pool.take(2048), pool.take(1024)];
  for (const block of [b, a, c]) pool.give(block);
  pool.trim(2048);
  assert.equal(pool.freeBytes, 2048);
  assert.deepEqual([pool.take(1024), pool.take(1024)], [a, c]);
  assert.notEqual(pool.take(2048), b);
});

test("a scope frees everything when its body throws", () => {
  const before = gpu.memory.used;
  assert.throws(() =>
    gpu.scope(() => {
      gpu.empty([1000], "f32");
      throw new Error("stop");
    }),
  );
  assert.equal(gpu.memory.used, before);
});

test("40 layers need no more memory than 2", () => {
  const x = gpu.upload([64], "f32", numbers(64));
  const weight = gpu.upload([64], "f32", new Float32Array(64).fill(1));
  const run = (layers: number): void => {
    gpu.release(
      gpu.through(
        x,
        Array.from({ length: layers }, () => (h) => rmsNorm(h, weight, 1e-5)),
      ),
    );
  };
  run(2);
  const { allocations } = gpu.memory;
  run(40);
  assert.equal(gpu.memory.allocations, allocations);
  gpu.release(x);
  gpu.release(weight);
});

test("a forward pass is one submit", async () => {
  const x = gpu.upload([4, 64], "f32", numbers(256));
  const weight = gpu.upload([64], "f32", new Float32Array(64).fill(1));
  gpu.poison = false;
  const { submits } = gpu;
  const y = gpu.through(
    x,
    Array.from({ length: 10 }, () => (h) => rmsNorm(h, weight, 1e-5)),
  );
  await gpu.read(y);
  gpu.poison = true;
  assert.equal(gpu.submits, submits + 1);
  for (const tensor of [x, weight, y]) gpu.release(tensor);
});

test("rows are views, copies are not", async () => {
  const x = gpu.upload([4, 64], "f32", numbers(256));
  const row = gpu.keep(x.rows(2, 3));
  assert.deepEqual((await gpu.read(row))[0], 128);
  assert.throws(() => x.rows(2, 5), ShapeError);
  assert.throws(() => x.reshape([3]), ShapeError);
  gpu.release(row);
  gpu.release(x);
});

test("an adapter is called by its card where that is told, and by its driver", () => {
  const called = (description: string, device: string, software = false): string =>
    nameOf({ ...DRY_ADAPTER, vendor: "nvidia", architecture: "hopper", description, device, software });
  assert.equal(called("NVIDIA: 580.159.04", "nvidia-h200"), "nvidia-h200 (NVIDIA: 580.159.04)");
  assert.equal(called("NVIDIA: 580.159.04", "0x2335"), "NVIDIA: 580.159.04");
  assert.equal(called("", ""), "nvidia hopper");
  assert.equal(called("llvmpipe: Mesa 25", "llvmpipe-llvm-15", true), "llvmpipe: Mesa 25");
});

test("a dry engine checks shapes and counts bytes", async () => {
  const dry = Gpu.dry();
  const x = dry.empty([8, 64], "f32");
  const peak = await dry.rehearse(() => rmsNorm(x, dry.empty([64], "f32"), 1e-5));
  assert.equal(peak, sizeClass(8 * 64 * 4) + sizeClass(64 * 4));
  assert.throws(() => rmsNorm(x, dry.empty([63], "f32"), 1e-5), /rms_norm: weight: expected shape \[64\], got \[63\]/);
  await assert.rejects(dry.read(x), GpuError);
});

test("a shader and its signature cannot drift apart", () => {
  const text = "struct Params { dim: u32 }\n@group(0) @binding(0) var<storage, read> x: array<x_t>;";
  const spec = { name: "k", source: text, buffers: { x: "read" }, params: { dim: "u32" } } as const;
  checkHeader(spec, text);
  assert.throws(() => checkHeader({ ...spec, params: { dims: "u32" } }, text), /params differ/);
  assert.throws(() => checkHeader({ ...spec, buffers: { x: "write" } }, text), /buffers differ/);
});

test("an extension is enabled once, whether a kernel or an element type asks for it", () => {
  const spec = { name: "k", source: "", buffers: { x: "read" }, params: {}, features: ["subgroups", "f16"] } as const;
  const line = "enable subgroups; enable f16; alias x_t = ";
  assert.equal(prelude(spec, ["f32"], {}), `${line}f32;\n`);
  assert.equal(prelude(spec, ["f16"], {}), `${line}f16;\n`);
});

test("subgroup matrices compile where the adapter has them", async () => {
  const { create } = await import("webgpu");
  // Dawn without a driver has every feature, checks what it is given, and computes nothing.
  const dawn = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await dawn.requestAdapter();
  const multiply = defineKernel({
    name: "matrices",
    source: MATRICES,
    buffers: { x: "read", y: "write" },
    params: { rows: "u32" },
    features: ["subgroups", "f16", "chromium_experimental_subgroup_matrix"],
  });
  const own = await Gpu.open(adapter!);
  assert.ok(Array.isArray(own.adapter.subgroupMatrices));
  for (const dtype of ["f32", "f16"] as const) {
    multiply.run({ x: own.empty([64], dtype), y: own.empty([64], "f32") }, { rows: 8 }, { workgroups: 1 });
  }
  await own.settled();
  own.close();
});

const MATRICES = `
struct Params { rows: u32 }
@group(0) @binding(0) var<storage, read> x: array<x_t>;
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;
@group(1) @binding(0) var<uniform> params: Params;
var<workgroup> tile: array<f16, 64>;
@compute @workgroup_size(128) fn main(@builtin(local_invocation_index) thread: u32) {
  for (var i = thread; i < 8 * params.rows; i += 128) { tile[i] = f16(x[i]); }
  workgroupBarrier();
  let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 8, 8>, row_major>(&tile, 0, 8);
  let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 8, 8>, row_major>(&tile, 0, 8);
  subgroupMatrixStore<row_major>(&y, 0, subgroupMatrixMultiply<f32>(left, right), 8);
}`;

test("a refused command is thrown, typed, by a later call, and the device goes on", async () => {
  const own = await openNodeGpu();
  own.device?.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE });
  await assert.rejects(own.settled(), GpuError);
  await own.settled();
  own.close();
  assert.throws(() => own.empty([1], "f32"), GpuError);
});

test("a lost device is a DeviceLostError from then on", async () => {
  const own = await openNodeGpu();
  own.device?.destroy();
  await own.device?.lost;
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert.throws(() => own.empty([1], "f32"), DeviceLostError);
  assert.throws(() => own.empty([1], "f32"), DeviceLostError);
  own.close();
});

test("what waits for a device that is lost hears that it is", async () => {
  const own = await openNodeGpu();
  const x = own.upload([4], "f32", new Float32Array(4));
  const waiting = [own.read(x), own.settled(), own.read(x)];
  own.device?.destroy();
  await Promise.all(waiting.map((wait) => assert.rejects(wait, DeviceLostError)));
  own.close();
});

test("half precision: every pattern survives the round trip, and rounding is to nearest even", () => {
  for (let half = 0; half < 65536; half++) {
    const value = fromHalf(half);
    if (Number.isNaN(value)) assert.equal(toHalf(value) & 0x7fff, 0x7e00);
    else assert.equal(toHalf(value), half);
  }
  assert.equal(toHalf(1 + 2 ** -11), toHalf(1));
  assert.equal(toHalf(1 + 3 * 2 ** -11), toHalf(1 + 2 ** -9));
  assert.equal(toHalf(65520), 0x7c00);
  assert.equal(toHalf(65519), 0x7bff);
});
