import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CheckpointError, WeightError } from "../src/errors.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { fromHalf, toHalf } from "../src/tensor/half.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { Converter, roundToHalf, toFiniteHalf, toFloat32 } from "../weights/convert.ts";
import { type Folder, memoryFolder } from "../weights/folder.ts";
import { encodeSafetensors, type OutputTensor } from "../weights/safetensors.ts";
import { Weights } from "../weights/weights.ts";
import { gpu } from "./gpu.ts";
import { randomFrom } from "./mutate.ts";

const GOLDEN = fileURLToPath(new URL("./golden/", import.meta.url));
const openModel = async (name: string) => openCheckpoint(await nodeFolder(`${GOLDEN}models/${name}`));

const inMemory = (tensors: Record<string, OutputTensor>, config: unknown = {}) =>
  openCheckpoint(
    memoryFolder({
      "config.json": new TextEncoder().encode(JSON.stringify(config)),
      "model.safetensors": encodeSafetensors(tensors),
    }),
  );

const floats = (...values: number[]): OutputTensor => ({
  dtype: "F32",
  shape: [values.length],
  data: Float32Array.from(values),
});

describe("conversion", () => {
  const allWords = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const words = new Uint8Array(allWords.buffer);

  test("every bfloat16 and every half widens exactly", () => {
    const wide = new Uint32Array(toFloat32(words, "BF16").buffer);
    assert.ok(wide.every((bits, i) => bits === (i << 16) >>> 0));
    const halves = toFloat32(words, "F16");
    assert.ok(halves.every((x, i) => Object.is(x, fromHalf(i)) || (Number.isNaN(x) && Number.isNaN(fromHalf(i)))));
    assert.deepEqual(new Converter().convert(words, "F16", "f32"), new Uint8Array(halves.buffer));
  });

  test("every bfloat16 rounds to the nearest half; too large ones are clamped and counted", () => {
    const converter = new Converter();
    const bytes = converter.convert(words, "BF16", "f16");
    const halves = new Uint16Array(bytes.slice().buffer);
    const wide = toFloat32(words, "BF16");
    assert.ok(halves.every((half, i) => half === toFiniteHalf(wide[i]!)));
    assert.equal(converter.clamped, wide.filter((x) => Number.isFinite(x) && Math.abs(x) > 65504).length);
    assert.ok(converter.clamped > 0);
    // In any company: neighbours are converted together. An odd count leaves one alone.
    const random = randomFrom(5);
    const mixed = Uint16Array.from({ length: 99_999 }, () => Math.floor(random() * 65536));
    const converted = new Uint16Array(converter.convert(new Uint8Array(mixed.buffer), "BF16", "f16").slice().buffer);
    assert.ok(converted.every((half, i) => half === halves[mixed[i]!]));
  });

  test("f32 rounds to the nearest half, ties to even, at every magnitude", () => {
    const random = randomFrom(3);
    const bits = Uint32Array.from({ length: 200_000 }, () => Math.floor(random() * 2 ** 32));
    const edges = Float32Array.of(
      0,
      -0,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      65504,
      65519.99,
      65520,
      -1e30,
      2 ** -24,
      2 ** -25,
    );
    bits.set(new Uint32Array(edges.buffer));
    const halves = new Uint16Array(bits.length);
    const clamped = roundToHalf(bits, halves);
    const values = new Float32Array(bits.buffer);
    assert.ok(values.every((x, i) => halves[i] === toFiniteHalf(x)));
    assert.deepEqual([...halves.subarray(0, 7)], [0, 0x8000, 0x3c00, 0x3c02, 0x7bff, 0x7bff, 0x7bff]);
    assert.equal(clamped, values.filter((x) => Number.isFinite(x) && Math.abs(x) >= 65520).length);
    assert.equal(toFiniteHalf(Number.POSITIVE_INFINITY), toHalf(Number.POSITIVE_INFINITY));
  });

  test("equal types are not copied", () => {
    assert.equal(new Converter().convert(words, "F16", "f16"), words);
    assert.equal(new Converter().convert(words, "F32", "f32"), words);
  });
});

describe("the cursor", () => {
  test("streams, joins, computes and renames", async () => {
    const checkpoint = await inMemory({
      "a.q.weight": { dtype: "F32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
      "a.k.weight": { dtype: "BF16", shape: [1, 3], data: Uint16Array.of(0x3f80, 0x4000, 0x4040) },
      "a.gamma": { dtype: "F16", shape: [3, 1, 1], data: Uint16Array.of(0x3c00, 0x4000, 0x4200) },
      "a.n": { dtype: "I64", shape: [], data: BigInt64Array.of(1n) },
    });
    for (const dtype of ["f32", "f16"] as const) {
      const w = Weights.of(gpu, checkpoint, dtype);
      const a = w.at("a");
      const joined = a.concat(
        ["q.weight", "k.weight"],
        [
          [2, 3],
          [1, 3],
        ],
      );
      const gamma = a.tensor("gamma", [3, 1, 1], { as: [3], dtype: "f32" });
      const sum = a.computed([["q.weight", [2, 3]]], [2], ([q]) => [q![0]! + q![1]!, q![4]!]);
      const renamed = w.renamed("a", (path) => path.replace("scale", "gamma")).tensor("scale", [3, 1, 1]);
      assert.deepEqual([joined.dtype, joined.shape, gamma.dtype, gamma.shape], [dtype, [3, 3], "f32", [3]]);
      assert.ok(a.has("q") && a.has("q.weight") && !a.has("q.weights") && w.has("a"));
      const steps: [number, number][] = [];
      await w.load({ onProgress: (...step) => void steps.push(step) });
      assert.deepEqual([...(await gpu.read(joined))], [1, 2, 3, 4, 5, 6, 1, 2, 3]);
      assert.deepEqual([...(await gpu.read(gamma))], [1, 2, 3]);
      assert.deepEqual([...(await gpu.read(sum))], [3, 5]);
      assert.deepEqual([...(await gpu.read(renamed))], [1, 2, 3]);
      assert.deepEqual(steps.at(-1), [66, 66]);
      assert.deepEqual(w.unused(), ["a.n"]);
      w.release();
    }
  });

  test("moves tensors larger than a chunk", async () => {
    const size = 5 * 2 ** 20 + 3;
    const data = Uint16Array.from({ length: size }, (_, i) => 0x3c00 + (i % 1021));
    const checkpoint = await inMemory({ x: { dtype: "F16", shape: [size], data } });
    const w = Weights.of(gpu, checkpoint, "f16");
    const x = w.tensor("x", [size]);
    await w.load();
    assert.deepEqual(new Uint16Array((await gpu.readBytes(x)).slice(0, 2 * size)), data);
    w.release();
  });

  test("names every missing, misshapen and non-float tensor at once, and frees what it made", async () => {
    const checkpoint = await inMemory({
      "m.x": floats(1, 2),
      n: { dtype: "I64", shape: [1], data: BigInt64Array.of(1n) },
    });
    const before = gpu.memory.used;
    const w = Weights.of(gpu, checkpoint, "f32");
    w.at("m").tensor("x", [3]);
    w.tensor("y", [4, 4]);
    w.tensor("n", [1]);
    await assert.rejects(w.load(), (error: unknown) => {
      assert.ok(error instanceof WeightError);
      assert.match(error.message, /m\.x: expected shape \[3\], got \[2\]/);
      assert.match(error.message, /y: not in the checkpoint \(expected shape \[4, 4\]\)/);
      assert.match(error.message, /n: expected F32, F16 or BF16, got I64/);
      return true;
    });
    assert.equal(gpu.memory.used, before);
  });

  test("an abort and a file that ends early free everything", async () => {
    const files = { "model.safetensors": encodeSafetensors({ x: floats(1, 2), y: floats(3, 4) }) };
    const folder: Folder = memoryFolder(files);
    const checkpoint = await openCheckpoint(folder);
    const before = gpu.memory.used;
    const w = Weights.of(gpu, checkpoint, "f32");
    w.tensor("x", [2]);
    w.tensor("y", [2]);
    const abort = new AbortController();
    const reason = new Error("enough");
    await assert.rejects(w.load({ signal: abort.signal, onProgress: () => abort.abort(reason) }), reason);
    folder.read = () => Promise.reject(new CheckpointError("gone"));
    const again = Weights.of(gpu, checkpoint, "f32");
    again.tensor("x", [2]);
    await assert.rejects(again.load(), /gone/);
    assert.equal(gpu.memory.used, before);
  });

  test("a dry engine checks shapes and reads nothing", async () => {
    const checkpoint = await openModel("qwen2_tiny");
    const w = Weights.of(Gpu.dry(), checkpoint, "f16");
    w.tensor("model.norm.weight", [96]);
    await w.load();
    w.tensor("model.norm.weight", [97]);
    assert.throws(() => w.check(), /expected shape \[97\], got \[96\]/);
  });

  test("weights beyond the f16 range are reported once", async () => {
    const w = Weights.of(gpu, await inMemory({ x: floats(1e6, 1, -1e6) }), "f16");
    const x = w.tensor("x", [3]);
    const warnings: string[] = [];
    await w.load({ onWarning: (message) => void warnings.push(message) });
    assert.deepEqual([...(await gpu.read(x))], [65504, 1, -65504]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /^2 weights/);
    w.release();
  });
});
