import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CheckpointError, FastVLMError, InputError } from "../src/errors.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFolder } from "../weights/folder.ts";
import { encodeHeader, encodeSafetensors, headerLength, parseHeader } from "../weights/safetensors.ts";
import { mutate, randomFrom } from "./mutate.ts";

const MODELS = fileURLToPath(new URL("./golden/models/", import.meta.url));
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** A file of the given header JSON and `dataBytes` bytes of data. */
function fileOf(header: unknown, dataBytes: number): Uint8Array<ArrayBuffer> {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : text(header);
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

function parse(file: Uint8Array) {
  const length = headerLength("f", file.subarray(0, 8), file.length);
  return parseHeader("f", file.subarray(8, 8 + length), file.length);
}

const small = encodeSafetensors(
  {
    "a.weight": { dtype: "F32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
    "b.bias": { dtype: "F16", shape: [3], data: Uint16Array.of(0x3c00, 0x4000, 0x4200) },
    n: { dtype: "I64", shape: [], data: BigInt64Array.of(7n) },
  },
  { format: "pt" },
);

describe("safetensors", () => {
  test("what is written is read back, in file order and with equal bytes", () => {
    const { tensors, metadata } = parse(small);
    assert.deepEqual(
      tensors.map(({ name, dtype, shape, start, end }) => [name, dtype, shape, end - start, start % 2]),
      [
        ["n", "I64", [], 8, 0],
        ["a.weight", "F32", [2, 2], 16, 0],
        ["b.bias", "F16", [3], 6, 0],
      ],
    );
    assert.equal(metadata.get("format"), "pt");
    const header = encodeHeader([["x", { dtype: "BF16", shape: [2, 3] }]]);
    assert.equal(header.length % 8, 0);
    assert.throws(() => encodeSafetensors({ x: { dtype: "F32", shape: [2], data: new Uint8Array(3) } }), InputError);
  });

  const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  const wrong: [what: string, file: Uint8Array, message: RegExp][] = [
    ["an empty file", new Uint8Array(0), /truncated.*0 bytes/],
    [
      "a header longer than the file",
      small.subarray(0, 20),
      /truncated: expected \d+ bytes by its header, the file has 20/,
    ],
    [
      "data cut short",
      small.subarray(0, small.length - 1),
      new RegExp(`expected ${small.length} bytes.*${small.length - 1}`),
    ],
    ["data appended", fileOf({ a: entry }, 9), /expected \d+ bytes by its header/],
    ["a Git LFS pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"), /header of 2 to/],
    ["not JSON", fileOf("{nonsense", 0), /expected a JSON header, got "\{nonsense"/],
    ["a list", fileOf([1], 0), /expected a JSON object/],
    [
      "a duplicate name",
      fileOf(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
        0,
      ),
      /distinct tensor names, got 1 duplicate/,
    ],
    ["a gap", fileOf({ a: { ...entry, data_offsets: [4, 12] } }, 12), /a: leaves a gap.*offset 0, got 4/],
    ["an overlap", fileOf({ a: entry, b: { ...entry, data_offsets: [4, 12] } }, 12), /b: overlaps.*offset 8, got 4/],
    [
      "too few bytes for the shape",
      fileOf({ a: { ...entry, shape: [3] } }, 8),
      /a: data_offsets: expected 12 bytes for F32 \[3\], got 8/,
    ],
    [
      "a negative size",
      fileOf({ a: { ...entry, shape: [-2] } }, 8),
      /a: shape: expected a list of whole numbers, got \[-2\]/,
    ],
    ["a fractional size", fileOf({ a: { ...entry, shape: [2.5] } }, 8), /a: shape/],
    [
      "sizes whose product overflows",
      fileOf({ a: { ...entry, shape: [2 ** 50, 2 ** 50] } }, 8),
      /a: shape: expected a tensor that fits/,
    ],
    ["an unknown element type", fileOf({ a: { ...entry, dtype: "Q4" } }, 8), /a: dtype: expected one of F64, .*got Q4/],
    ["an element type from the prototype", fileOf({ a: { ...entry, dtype: "toString" } }, 8), /a: dtype/],
    ["an entry that is null", fileOf({ a: null }, 0), /a: entry/],
    ["metadata that are not strings", fileOf({ __metadata__: { k: 1 } }, 0), /__metadata__: k: expected a string/],
  ];
  for (const [what, file, message] of wrong) {
    test(`refuses ${what}`, () => {
      assert.throws(
        () => parse(file),
        (error: unknown) => error instanceof CheckpointError && message.test(error.message),
      );
    });
  }

  test("reads names such as __proto__, unpadded headers and odd offsets", () => {
    const header =
      '{"__proto__":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"x":{"dtype":"F16","shape":[1],"data_offsets":[3,5]}}';
    const { tensors } = parse(fileOf(header, 5));
    assert.deepEqual(
      tensors.map(({ name }) => name),
      ["__proto__", "x"],
    );
  });
});

describe("opening a checkpoint", () => {
  const config = text({ model_type: "qwen2" });
  const open = (files: Record<string, Uint8Array>) => openCheckpoint(memoryFolder(files, "F"));

  test("lists tensors, parameters and text files", async () => {
    const checkpoint = await open({ "config.json": config, "model.safetensors": small, "tokenizer.json": text({}) });
    assert.deepEqual([...checkpoint.tensors.keys()], ["n", "a.weight", "b.bias"]);
    assert.equal(checkpoint.tensorBytes, 30);
    assert.equal(checkpoint.parameters, 7);
    assert.equal(await checkpoint.text("tokenizer.json"), "{}");
    assert.equal(await checkpoint.json("generation_config.json"), undefined);
    assert.deepEqual(await checkpoint.readF32("b.bias"), Float32Array.of(1, 2, 3));
    const pieces: number[] = [];
    await checkpoint.stream("a.weight", (chunk, at) => void pieces.push(at, chunk.length), { chunkBytes: 8 });
    assert.deepEqual(pieces, [0, 8, 8, 8]);
  });

  const shard = (name: string) => encodeSafetensors({ [name]: { dtype: "F16", shape: [1], data: Uint16Array.of(1) } });
  const index = (map: unknown) => ({
    "config.json": config,
    "model.safetensors.index.json": text({ weight_map: map }),
  });
  const wrong: [what: string, files: Record<string, Uint8Array>, message: RegExp][] = [
    ["no weights", { "config.json": config }, /neither model.safetensors nor/],
    ["PyTorch files only", { "config.json": config, "pytorch_model.bin": new Uint8Array(1) }, /got pytorch_model.bin/],
    [
      "broken config.json",
      { "config.json": text("{").subarray(1, 2), "model.safetensors": small },
      /config.json: expected JSON/,
    ],
    [
      "config.json that is a list",
      { "config.json": text([]), "model.safetensors": small },
      /config.json: expected a JSON object/,
    ],
    [
      "config.json that is not UTF-8",
      { "config.json": Uint8Array.of(0xff), "model.safetensors": small },
      /expected UTF-8/,
    ],
    ["an index without a map", index(undefined), /weight_map/],
    ["a missing shard", index({ x: "1.safetensors" }), /1.safetensors is missing/],
    [
      "a tensor that its shard lacks",
      { ...index({ y: "1.safetensors" }), "1.safetensors": shard("x") },
      /puts y in 1.safetensors/,
    ],
    ["a shard outside the folder", index({ x: "../1.safetensors" }), /expected the name of a file in the folder/],
    ["a file name that is a number", index({ x: 3 }), /expected a file name, got 3/],
  ];
  for (const [what, files, message] of wrong) {
    test(`refuses ${what}`, async () => {
      await assert.rejects(
        open(files),
        (error: unknown) => error instanceof CheckpointError && message.test(error.message),
      );
    });
  }

  test("takes tensors that the index forgot", async () => {
    const both = { ...index({ x: "1.safetensors", y: "2.safetensors" }), "1.safetensors": shard("x") };
    const second = encodeSafetensors({
      y: { dtype: "F16", shape: [1], data: Uint16Array.of(2) },
      z: { dtype: "F16", shape: [1], data: Uint16Array.of(3) },
    });
    assert.deepEqual([...(await open({ ...both, "2.safetensors": second })).tensors.keys()], ["x", "y", "z"]);
  });

  test("500 mutated files: a typed error, or the tensors", async () => {
    const random = randomFrom(7);
    for (let i = 0; i < 500; i++) {
      const file = mutate(small, random);
      try {
        const checkpoint = await open({ "config.json": config, "model.safetensors": file });
        assert.ok(checkpoint.tensorBytes <= file.length);
      } catch (error) {
        assert.ok(error instanceof FastVLMError, `mutation ${i}: ${String(error)}`);
      }
    }
  });
});

describe("folders on disk", () => {
  test("read ranges, know sizes, and can be used after close", async () => {
    const folder = await nodeFolder(join(MODELS, "fastvlm_hf"));
    assert.equal(await folder.size("model.safetensors"), 2319664);
    assert.equal(await folder.size("absent"), undefined);
    const into = new Uint8Array(64);
    const bytes = await folder.read("config.json", 1, 5, { into });
    assert.equal(bytes.buffer, into.buffer);
    await folder.close();
    assert.deepEqual(await folder.read("config.json", 1, 5), bytes);
    await assert.rejects(folder.read("config.json", 0, 1e6), /truncated/);
    await assert.rejects(folder.read("absent"), CheckpointError);
    await assert.rejects(folder.read("../fastvlm_hf/config.json"), CheckpointError);
    await folder.close();
  });

  test("a missing folder, a file, and a folder that may not be read are named", async () => {
    await assert.rejects(nodeFolder(join(MODELS, "nowhere")), /nowhere: no such folder/);
    await assert.rejects(nodeFolder(join(MODELS, "fastvlm_hf/config.json")), /expected a folder, got a file/);
    const dir = await mkdtemp(join(tmpdir(), "fastvlm-"));
    try {
      await writeFile(join(dir, "config.json"), "{}");
      await chmod(join(dir, "config.json"), 0);
      const folder = await nodeFolder(dir);
      // Root reads everything.
      if (process.getuid?.() !== 0) await assert.rejects(folder.read("config.json"), /cannot be read \(EACCES\)/);
      await folder.close();
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
