// Codes that are kept for the next start: what is read again is what was made, and nothing that is damaged is ever used.

import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { NodeCodeStore } from "../src/node/code_store.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { FastVLM } from "../src/node.ts";
import { installPlatform, type Platform, platform } from "../src/pipeline/platform.ts";
import type { LoadOptions } from "../src/pipeline/types.ts";
import { QUANT_FORMATS } from "../src/tensor/quantized.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { Folder } from "../weights/folder.ts";
import { deinterleave, interleave, quantize } from "../weights/quant.ts";
import { GOLDEN } from "./golden.ts";

const temporary = mkdtempSync(join(tmpdir(), "fastvlm-codes-"));
after(() => rmSync(temporary, { recursive: true, force: true }));
const kept = join(temporary, "codes");
const files = (): string[] => (existsSync(kept) ? readdirSync(kept) : []);

interface Read {
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

/** A folder that notes every range that is read of its weights. */
async function watched(path: string): Promise<{ folder: Folder; reads: Read[] }> {
  const base = await nodeFolder(path);
  const reads: Read[] = [];
  const folder: Folder = {
    name: base.name,
    size: (file) => base.size(file),
    version: async (file) => base.version?.(file),
    close: () => base.close(),
    async read(file, start = 0, end, options) {
      const bytes = await base.read(file, start, end, options);
      if (file.endsWith(".safetensors")) reads.push({ file, start, end: start + bytes.length });
      return bytes;
    },
  };
  return { folder, reads };
}

interface Loaded {
  readonly logits: readonly number[];
  readonly reads: readonly Read[];
  readonly warnings: readonly string[];
  readonly kept: boolean;
}

async function load(path: string, options: LoadOptions = { quantize: "int4" }): Promise<Loaded> {
  const { folder, reads } = await watched(path);
  const warnings: string[] = [];
  using vlm = await FastVLM.load(folder, { ...options, onWarning: (message) => void warnings.push(message) });
  const { gpu, model } = vlm;
  const { decoder } = model;
  const cache = decoder.cache(8, model.dtype);
  decoder.rope.table(8);
  const prompt = gpu.upload([3], "u32", Uint32Array.of(5, 9, 300));
  const out = gpu.scope(() => gpu.keep(decoder.logits(decoder.forward(decoder.embed(prompt), cache))));
  const logits = [...(await gpu.read(out))];
  return { logits, reads, warnings, kept: await vlm.whenKept() };
}

/** The model, somewhere else. */
function copyOf(name: string): string {
  const path = join(temporary, name);
  cpSync(fileURLToPath(new URL("models/fastvlm_hf", GOLDEN)), path, { recursive: true, preserveTimestamps: true });
  return path;
}

describe("a model that is rounded while it loads", () => {
  let installed: Platform;
  before(() => {
    installed = platform();
    installPlatform({ ...installed, codeStore: new NodeCodeStore(kept) });
  });
  after(() => installPlatform(installed));
  const model = copyOf("model");
  const weights = join(model, "model.safetensors");
  const codes = (): string => join(kept, files()[0]!);
  let first: Loaded;

  test("starts from its codes the second time, and reads no matrix", async () => {
    first = await load(model);
    assert.deepEqual([first.kept, files().length, first.warnings], [true, 1, []]);
    const checkpoint = await openCheckpoint(await nodeFolder(kept).then((folder) => renamed(folder, files()[0]!)));
    const matrices = [...checkpoint.tensors.values()].filter(({ name }) => name.endsWith(".weight"));
    const { tensors } = await openCheckpoint(await nodeFolder(model));
    const readOf = ({ reads }: Loaded, name: string): number => {
      const { start, end } = tensors.get(name)!;
      const overlap = (read: Read): number => Math.min(read.end, end) - Math.max(read.start, start);
      return reads.reduce((sum, read) => sum + Math.max(0, overlap(read)), 0);
    };
    const second = await load(copyOf("elsewhere"));
    assert.ok(matrices.length >= 13);
    for (const { name } of matrices) {
      assert.ok(readOf(first, name) >= 1024, `${name}: ${readOf(first, name)} bytes`);
      assert.equal(readOf(second, name), 256, name); // a sample, for the key
    }
    assert.deepEqual(second.logits, first.logits);
    assert.deepEqual([second.kept, files().length, second.warnings], [false, 1, []]);
  });

  test("makes damaged codes again, with one warning", async () => {
    const whole = readFileSync(codes());
    const flip = (at: number) => () => {
      const bytes = Uint8Array.from(whole);
      bytes[at]! ^= 4;
      writeFileSync(codes(), bytes);
    };
    const damages = { codes: flip(whole.length - 1000), header: flip(40), tail: () => truncateSync(codes(), 5000) };
    for (const [what, damage] of Object.entries(damages)) {
      damage();
      const again = await load(model);
      assert.deepEqual(again.logits, first.logits, what);
      assert.equal(again.warnings.length, 1, what);
      assert.match(again.warnings[0]!, /kept codes are damaged and will be made again/);
      assert.equal(again.kept, true);
      assert.ok(whole.equals(readFileSync(codes())), what);
    }
  });

  test("with other weights, or in another format, has codes of its own", async () => {
    const { mtime } = statSync(weights);
    const { start, end } = (await openCheckpoint(await nodeFolder(model))).tensors.get(
      "model.language_model.layers.0.mlp.gate_proj.weight",
    )!;
    const bytes = readFileSync(weights);
    for (let i = 0; i < 8; i++) bytes[(start + end) / 2 + 4 * i + 3]! ^= 128; // signs
    writeFileSync(weights, bytes);
    utimesSync(weights, mtime, mtime); // as an archive without times would
    const changed = await load(model);
    assert.deepEqual([changed.kept, files().length], [true, 2]);
    assert.notDeepEqual(changed.logits, first.logits);
    assert.equal((await load(model, { quantize: "int8" })).kept, true);
    utimesSync(weights, mtime, new Date(mtime.getTime() + 1000)); // changed elsewhere, perhaps
    assert.equal((await load(model, { quantize: "int8" })).kept, true);
    assert.equal(files().length, 4);
    assert.equal((await load(model, { quantize: "int8", embeddings: "int4" })).kept, true);
    assert.equal(files().length, 5);
  });

  test("keeps and uses nothing when told so", async () => {
    const other = await load(model, { quantize: "int4", cache: false });
    assert.deepEqual([other.kept, files().length], [false, 5]);
    assert.equal((await load(model, {})).kept, false);
  });
});

/** One file of a folder as if it were a checkpoint's only one. */
const renamed = (base: Folder, file: string): Folder => ({
  name: base.name,
  size: async (name) => (name === "model.safetensors" ? base.size(file) : undefined),
  read: (_, start, end, options) => base.read(file, start, end, options),
  close: () => base.close(),
});

describe("the store", () => {
  const path = join(temporary, "store");
  const fill = (byte: number, bytes: number) => (put: (at: number, part: Uint8Array<ArrayBuffer>) => Promise<void>) =>
    put(0, new Uint8Array(bytes).fill(byte));

  test("forgets what was not used for longest", async () => {
    const store = new NodeCodeStore(path, 250);
    for (const [i, name] of ["a", "b", "c"].entries()) {
      assert.equal(await store.write(name, 100, fill(i, 100)), true);
      utimesSync(join(path, name), i, i);
      if (name === "b") assert.ok(await store.open("a")); // now b is older
    }
    assert.deepEqual((await store.list()).map(({ name }) => name).sort(), ["a", "c"]);
    assert.equal(await store.write("d", 251, fill(3, 251)), false);
    assert.equal(await store.open("b"), undefined);
  });

  test("has whole files only, whatever ends the writing", async () => {
    const store = new NodeCodeStore(path);
    const failing = store.write("e", 100, async (put) => {
      await put(0, new Uint8Array(50));
      throw new Error("stopped");
    });
    await assert.rejects(failing, /stopped/);
    assert.equal(await store.open("e"), undefined);
    const left = join(path, "e.1-x.tmp");
    mkdirSync(path, { recursive: true });
    writeFileSync(left, "");
    utimesSync(left, 0, 0);
    await Promise.all([store.write("e", 100, fill(1, 100)), store.write("e", 100, fill(1, 100))]);
    assert.deepEqual(new Uint8Array(readFileSync(join(path, "e"))), new Uint8Array(100).fill(1));
    assert.deepEqual(
      readdirSync(path).filter((name) => name.endsWith(".tmp")),
      [],
    );
    await assert.rejects(store.open("../e"), /expected the name of a file/);
  });
});

test("codes from the layout of kernels are those that went into it", () => {
  const values = Float32Array.from({ length: 11 * 96 }, (_, i) => Math.sin(i * i));
  for (const format of QUANT_FORMATS) {
    const stored = quantize(values, format);
    assert.deepEqual(deinterleave(interleave(stored, format, 96), format, [11, 96]), stored);
  }
});
