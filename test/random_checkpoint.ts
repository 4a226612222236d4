// Writes a checkpoint of full size with seeded random weights, to measure loading, memory and speed without a download:
//
//   node test/random_checkpoint.ts --shape fastvlm-0.5b --dtype bf16 --out /tmp/fastvlm-0.5b [--seed 1]

import { mkdir, mkdtemp, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type HalfType, randomFolder } from "./random_folder.ts";
import { CONFIGS } from "./random_shapes.ts";

const CHUNK_BYTES = 2 ** 22;

/** Copies the made-up folder to the disk; returns the bytes written. */
async function writeCheckpoint(target: string, shape: string, dtype: HalfType, seed: number): Promise<number> {
  const folder = randomFolder(shape, dtype, seed);
  const buffer = new Uint8Array(CHUNK_BYTES);
  let total = 0;
  for (const name of folder.files) {
    const size = (await folder.size(name))!;
    const file = await open(join(target, name), "w");
    try {
      for (let at = 0; at < size; at += CHUNK_BYTES) {
        await file.appendFile(await folder.read(name, at, Math.min(size, at + CHUNK_BYTES), { into: buffer }));
      }
    } finally {
      await file.close();
    }
    total += size;
  }
  return total;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      shape: { type: "string", default: "" },
      dtype: { type: "string", default: "bf16" },
      out: { type: "string", default: "" },
      seed: { type: "string", default: "1" },
    },
  });
  const { shape, dtype, out } = values;
  const seed = Number(values.seed);
  if (!Object.hasOwn(CONFIGS, shape)) throw new Error(`--shape: expected ${Object.keys(CONFIGS).join(", ")}`);
  if (dtype !== "bf16" && dtype !== "f16") throw new Error("--dtype: expected bf16 or f16");
  if (!Number.isInteger(seed)) throw new Error("--seed: expected a whole number");
  if (!out) throw new Error("--out: expected a folder to make");
  if (await stat(out).catch(() => undefined)) throw new Error(`--out: ${out} exists already`);
  const target = resolve(out);
  await mkdir(dirname(target), { recursive: true });
  // Only a complete checkpoint ever bears the name.
  const partial = await mkdtemp(`${target}.partial-`);
  try {
    const bytes = await writeCheckpoint(partial, shape, dtype, seed);
    await rename(partial, target);
    console.log(`${target}: ${shape}, ${(bytes / 1e9).toFixed(2)} GB in ${dtype}`);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
