// Quantised language models: a model of codes must compute what a model of the numbers that they stand for computes.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { nmse } from "../kernels/case.ts";
import { hasMatrices } from "../kernels/matrices.ts";
import { quantizeFolder } from "../src/cli/quantize_folder.ts";
import { Choices } from "../src/gpu/choices.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { assemble, openParts } from "../src/pipeline/assemble.ts";
import { inspectCheckpoint } from "../src/pipeline/inspect.ts";
import {
  type Activations,
  CODE_BITS,
  GROUP,
  QUANT_FORMATS,
  type QuantFormat,
  QuantizedTensor,
} from "../src/tensor/quantized.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { type Folder, memoryFolder } from "../weights/folder.ts";
import { dequantize, interleave, quantize } from "../weights/quant.ts";
import { encodeSafetensors, type OutputTensor } from "../weights/safetensors.ts";
import type { QuantFormats } from "../weights/weights.ts";
import { runCramped } from "./cli.ts";
import { GOLDEN } from "./golden.ts";
import { gpu } from "./gpu.ts";
import { sharded } from "./shards.ts";

type Mix = Required<QuantFormats> & { readonly table: QuantFormat };
const mix = (linear: QuantFormat, table: QuantFormat): Mix => ({ linear, table });
const MIXES = [...QUANT_FORMATS.map((format) => mix(format, "int8")), mix("int4", "int4"), mix("int8", "int4-affine")];

const fileOf = (model: string, file: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`models/${model}/${file}`, GOLDEN)));

const isTable = (name: string): boolean => /embed_tokens|lm_head/.test(name);
const isMatrix = (name: string): boolean => isTable(name) || /_proj\.weight$/.test(name);

/** The model with every matrix rounded, as numbers again. */
async function rounded(model: string, { linear, table }: Mix): Promise<Folder> {
  const config = fileOf(model, "config.json");
  const files = { "config.json": config, "model.safetensors": fileOf(model, "model.safetensors") };
  const checkpoint = await openCheckpoint(memoryFolder(files));
  const tensors: Record<string, OutputTensor> = {};
  for (const [name, { shape }] of checkpoint.tensors) {
    const data = await checkpoint.readF32(name);
    const kind = isTable(name) ? table : linear;
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

/** Logits after a prompt and after one token more, so that both prefill and decode are compared. */
async function logits(
  folder: Folder,
  formats?: QuantFormats,
  { tokens = 11, activations }: { tokens?: number; activations?: Activations } = {},
): Promise<{ logits: Float32Array; bytes: number }> {
  const before = gpu.memory.used;
  const { model, weights } = assemble(gpu, await openParts({ language: folder }), "f32", { formats, activations });
  for (const w of weights) await w.load();
  const bytes = gpu.memory.used - before;
  const { decoder } = model;
  const cache = decoder.cache(tokens + 5, "f32");
  decoder.rope.table(tokens + 5);
  const ids = Uint32Array.from({ length: tokens }, (_, i) => (i * 37 + 5) % 400);
  const prompt = gpu.upload([tokens], "u32", ids);
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
    for (const formats of MIXES) {
      test(`rounded while loading: ${formats.linear}, embedding and head ${formats.table}`, async () => {
        const want = await logits(await rounded(model, formats));
        const got = await logits(folderOf(model), formats);
        assert.ok(nmse(got.logits, want.logits) < 1e-9, `error ${nmse(got.logits, want.logits)}`);
        assert.ok(got.bytes < want.bytes * 0.5, `${got.bytes} of ${want.bytes} bytes`);
      });
    }
  });
}

test("rows of a matrix permit what it permits: inputs as they are, unless said otherwise", () => {
  for (const kind of [undefined, "float", "int8"] as const) {
    const matrix = QuantizedTensor.empty(gpu, "int4", [24, 32], kind);
    assert.equal(matrix.activations, kind ?? "float");
    assert.equal(matrix.rows(8, 24).activations, matrix.activations);
    matrix.release();
  }
});

const tensorCores = hasMatrices(gpu.adapter) || !gpu.adapter.packedDot;

test("activations may be rounded where that is permitted, and then in long prompts alone", {
  skip: tensorCores && "this adapter multiplies matrices, or no bytes",
}, async (context) => {
  const { choices } = gpu;
  context.after(() => Object.assign(gpu, { choices }));
  Object.assign(gpu, { choices: new Choices({ "linear_quantized f32/int8 int4 rows 64": "dot" }) });
  const folder = folderOf("qwen2_tiny");
  const formats = mix("int4", "int8");
  const short = await logits(folder, formats);
  assert.deepEqual((await logits(folder, formats, { activations: "int8" })).logits, short.logits);
  const before = gpu.dispatches;
  const want = await logits(folder, formats, { tokens: 80 });
  const between = gpu.dispatches;
  const got = await logits(folder, formats, { tokens: 80, activations: "int8" });
  assert.ok(gpu.dispatches - between > between - before, "rounding takes runs of its own");
  const error = nmse(got.logits, want.logits);
  assert.ok(error > 0 && error < 0.01, `error ${error}`);
});

test("codes of a folder are taken as they are, unless another format is asked for by name", async () => {
  const out = join(mkdtempSync(join(tmpdir(), "fastvlm-quantize-")), "int4");
  const model = fileURLToPath(new URL("models/qwen2_tiny", GOLDEN));
  await quantizeFolder(model, out, { format: "int4", embeddings: "int4" });
  const plain = await logits(await nodeFolder(out));
  assert.deepEqual((await logits(await nodeFolder(out), { linear: "int4" })).logits, plain.logits);
  await assert.rejects(logits(await nodeFolder(out), mix("int4", "int8")), /embed_tokens.*expected int8, got int4/s);
  rmSync(dirname(out), { recursive: true });
});

describe("codes on the host", () => {
  const values = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i * i) * (i % 50 === 0 ? 9 : 1));

  /** Half of the largest step that a group can have: its range in 15 or 16 parts, or its magnitude in 127. */
  for (const format of QUANT_FORMATS) {
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
    for (const format of QUANT_FORMATS) {
      const stored = quantize(values.subarray(0, 96), format); // one row of three groups: a padding group, seven padding rows
      const fresh = interleave(stored, format, 96);
      const used = { codes: new Uint32Array(999).fill(~0), scales: new Uint32Array(999).fill(~0) };
      assert.deepEqual(interleave(stored, format, 96, used), fresh);
      assert.equal(fresh.codes.length, (4 * 8 * GROUP * CODE_BITS[format]) / 32);
    }
  });
});

describe("fastvlm quantize", () => {
  const temporary = mkdtempSync(join(tmpdir(), "fastvlm-quantize-"));
  after(() => rmSync(temporary, { recursive: true, force: true }));
  const model = fileURLToPath(new URL("models/qwen2_tiny", GOLDEN));

  for (const formats of MIXES) {
    const { linear: format, table: embeddings } = formats;
    test(`a written folder of ${format} and ${embeddings} computes what rounding while loading computes`, async () => {
      const out = join(temporary, `${format} ${embeddings}`);
      const { matrices, inputBytes, outputBytes } = await quantizeFolder(model, out, { format, embeddings });
      const want = await logits(folderOf("qwen2_tiny"), formats);
      const got = await logits(await nodeFolder(out));
      assert.ok(nmse(got.logits, want.logits) < 1e-6, `error ${nmse(got.logits, want.logits)}`);
      assert.equal(got.bytes, want.bytes);
      const { parameters } = await inspectCheckpoint(await nodeFolder(out));
      assert.equal(parameters, (await inspectCheckpoint(folderOf("qwen2_tiny"))).parameters);
      assert.ok(outputBytes < inputBytes * 0.5);
      assert.equal(matrices.length, 3 * 6 + 1); // q, k, v, o, gate and up of each layer, the embedding
      for (const { name, format, error } of matrices) {
        assert.equal(format, isTable(name) ? formats.table : formats.linear);
        assert.ok(error < (format === "int8" ? 0.01 : 0.2), `${name}: ${error}`);
      }
      await assert.rejects(
        logits(await nodeFolder(out), mix(format === "int8" ? "int4" : "int8", embeddings)),
        /codes cannot be rounded again/,
      );
      await assert.rejects(quantizeFolder(out, `${out}-again`, { format }), /got a quantised checkpoint/);
    });
  }

  test("all other files come along, and nothing else is left", async () => {
    const out = join(temporary, "files");
    await quantizeFolder(model, out, { format: "int4" });
    assert.deepEqual(readdirSync(out).sort(), readdirSync(model).sort());
    assert.deepEqual(JSON.parse(readFileSync(join(out, "config.json"), "utf8")).quantization_config, {
      quant_method: "fastvlm",
      format: "int4",
      embeddings: "int8",
      group_size: 32,
    });
    await assert.rejects(quantizeFolder(model, out, { format: "int4" }), /does not exist yet/);
  });

  test("a disk that is full at the last bytes is said, and no folder is made", {
    skip: process.platform === "win32",
  }, async () => {
    const whole = join(temporary, "whole");
    const out = join(temporary, "too large");
    await quantizeFolder(model, whole, { format: "int4" });
    const { size } = statSync(join(whole, "model.safetensors"));
    const body = `
      const { quantizeFolder } = await source("cli/quantize_folder.ts");
      const [model, out] = ${JSON.stringify([model, out])};
      await quantizeFolder(model, out, { format: "int4" }).catch((error) => console.log(String(error)));`;
    const said = runCramped(Math.floor((size - 1) / 512), body);
    assert.match(said, /^InputError: .*model\.safetensors: cannot be written \(EFBIG\)\n$/);
    assert.equal(existsSync(out), false);
    await quantizeFolder(model, out, { format: "int4" });
    assert.deepEqual(readFileSync(join(out, "model.safetensors")), readFileSync(join(whole, "model.safetensors")));
    await assert.rejects(quantizeFolder(model, join(out, "config.json", "below a file"), { format: "int4" }), {
      name: "InputError",
      message: /cannot be written \(ENOTDIR\)$/,
    });
  });

  test("an interrupted run goes on with the shards that are whole", async () => {
    const source = join(temporary, "shards");
    await writeShards(source);
    const out = join(temporary, "resumed");
    let stopAt = 2;
    const run = () =>
      quantizeFolder(source, out, {
        format: "int4",
        onProgress: () => {
          const names = readdirSync(`${out}.partial`).filter((name) => name.endsWith(".safetensors"));
          if (names.length === stopAt) throw new Error("stopped");
        },
      });
    await assert.rejects(run(), /stopped/);
    assert.equal(existsSync(out), false);
    const whole = join(`${out}.partial`, "model-00001-of-00003.safetensors");
    const before = statSync(whole).mtimeMs;
    stopAt = -1;
    await run();
    assert.equal(statSync(join(out, "model-00001-of-00003.safetensors")).mtimeMs, before);
    const want = await logits(folderOf("qwen2_tiny"), mix("int4", "int8"));
    const got = await logits(await nodeFolder(out));
    assert.ok(nmse(got.logits, want.logits) < 1e-6);
  });
});

async function writeShards(path: string): Promise<void> {
  const folder = sharded(new URL("models/qwen2_tiny/", GOLDEN), 3);
  mkdirSync(path);
  const names = [
    "config.json",
    "model.safetensors.index.json",
    ...[1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`),
  ];
  for (const name of names) writeFileSync(join(path, name), await folder.read(name));
}
