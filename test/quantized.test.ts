// Quantised language models: a model of codes must compute what a model of the numbers that they stand for computes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { nmse } from "../kernels/case.ts";
import { assemble, openParts } from "../src/pipeline/assemble.ts";
import { CODE_BITS, GROUP, type QuantFormat } from "../src/tensor/quantized.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { type Folder, memoryFolder } from "../weights/folder.ts";
import { dequantize, interleave, quantize } from "../weights/quant.ts";
import { encodeSafetensors, type OutputTensor } from "../weights/safetensors.ts";
import { GOLDEN } from "./golden.ts";
import { gpu } from "./gpu.ts";

const FORMATS = ["int4", "int4-affine", "int8"] as const;

const fileOf = (model: string, file: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`models/${model}/${file}`, GOLDEN)));

const isTable = (name: string): boolean => /embed_tokens|lm_head/.test(name);
const isMatrix = (name: string): boolean => isTable(name) || /_proj\.weight$/.test(name);

/** The model with every matrix rounded, as numbers again. */
async function rounded(model: string, format: QuantFormat): Promise<Folder> {
  const config = fileOf(model, "config.json");
  const files = { "config.json": config, "model.safetensors": fileOf(model, "model.safetensors") };
  const checkpoint = await openCheckpoint(memoryFolder(files));
  const tensors: Record<string, OutputTensor> = {};
  for (const [name, { shape }] of checkpoint.tensors) {
    const data = await checkpoint.readF32(name);
    const kind = isTable(name) ? "int8" : format;
    const fits = isMatrix(name) && shape[1]! % GROUP === 0; // rows of 200, in these models' MLPs, stay numbers
    tensors[name] = { dtype: "F32", shape, data: fits ? dequantize(quantize(data, kind), kind) : data };
  }
  return memoryFolder({ "config.json": config, "model.safetensors": encodeSafetensors(tensors) });
}

const folderOf = (model: string): Folder =>
  memoryFolder({
    "config.json": fileOf(model, "config.json"),
    "model.safetensors": fileOf(model, "model.safetensors"),
  });

/** Logits after a prompt of 11 tokens and after one more, so that both prefill and decode are compared. */
async function logits(folder: Folder, quantization?: QuantFormat): Promise<{ logits: Float32Array; bytes: number }> {
  const before = gpu.memory.used;
  const { model, weights } = assemble(gpu, await openParts({ language: folder }), "f32", quantization);
  for (const w of weights) await w.load();
  const bytes = gpu.memory.used - before;
  const { decoder } = model;
  const cache = decoder.cache(16, "f32");
  decoder.rope.table(16);
  const ids = Uint32Array.from({ length: 11 }, (_, i) => (i * 37 + 5) % 400);
  const prompt = gpu.upload([11], "u32", ids);
  const next = gpu.upload([1], "u32", Uint32Array.of(7));
  const out = gpu.scope(() => {
    const first = decoder.logits(decoder.forward(decoder.embed(prompt), cache));
    const second = decoder.logits(decoder.forward(decoder.embed(next), cache));
    return [gpu.keep(first), gpu.keep(second)];
  });
  const read = [...(await gpu.read(out[0]!)), ...(await gpu.read(out[1]!))];
  for (const tensor of [...out, prompt, next]) gpu.release(tensor);
  cache.free();
  for (const w of weights) w.release();
  return { logits: Float32Array.from(read), bytes };
}

for (const model of ["qwen2_tiny", "phi4_mini_tiny"]) {
  describe(`${model} in few bits`, () => {
    for (const format of FORMATS) {
      test(`rounded while loading: ${format}`, async () => {
        const want = await logits(await rounded(model, format));
        const got = await logits(folderOf(model), format);
        assert.ok(nmse(got.logits, want.logits) < 1e-9, `error ${nmse(got.logits, want.logits)}`);
        assert.ok(got.bytes < want.bytes * 0.5, `${got.bytes} of ${want.bytes} bytes`);
      });
    }
  });
}

describe("codes on the host", () => {
  const values = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i * i) * (i % 50 === 0 ? 9 : 1));

  /** Half of the largest step that a group can have: its range in 15 or 16 parts, or its magnitude in 127. */
  for (const format of FORMATS) {
    test(`${format}: no number moves by more than about half a step`, () => {
      const back = dequantize(quantize(values, format), format);
      for (let start = 0; start < values.length; start += GROUP) {
        const group = values.subarray(start, start + GROUP);
        const magnitude = Math.max(...group.map(Math.abs));
        const range = Math.max(...group) - Math.min(...group);
        // The greatest number of int4 lies up to a whole step past its last code, 7.
        const step = { int4: magnitude / 8, "int4-affine": range / 30, int8: magnitude / 254 }[format];
        for (const [i, value] of group.entries()) {
          assert.ok(Math.abs(back[start + i]! - value) <= step * 1.02, `${value} became ${back[start + i]}`);
        }
      }
    });
  }

  test("int4 has all of its codes, and keeps the extreme", () => {
    const line = Float32Array.from({ length: 32 }, (_, i) => 8 - i / 2);
    const { codes, scales } = quantize(line, "int4");
    const nibbles = new Set([...codes].flatMap((word) => Array.from({ length: 8 }, (_, i) => (word >>> (4 * i)) & 15)));
    assert.equal(nibbles.size, 16);
    assert.equal(dequantize({ codes, scales, offsets: undefined }, "int4")[0], 8);
  });

  test("interleaving into used memory leaves nothing of before", () => {
    for (const format of FORMATS) {
      const stored = quantize(values.subarray(0, 96), format); // one row of three groups: a padding group, seven padding rows
      const fresh = interleave(stored, format, 96);
      const used = { codes: new Uint32Array(999).fill(~0), scales: new Uint32Array(999).fill(~0) };
      assert.deepEqual(interleave(stored, format, 96, used), fresh);
      assert.equal(fresh.codes.length, (4 * 8 * GROUP * CODE_BITS[format]) / 32);
    }
  });
});
