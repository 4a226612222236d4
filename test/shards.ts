import { existsSync, readFileSync } from "node:fs";
import { type Folder, memoryFolder } from "../weights/folder.ts";
import { encodeSafetensors, headerLength, type OutputTensor, parseHeader } from "../weights/safetensors.ts";

const FILES = ["config.json", "tokenizer.json", "generation_config.json", "preprocessor_config.json"];

/** The checkpoint of a golden folder, its weights dealt out over `count` files with an index, as large models are published. */
export function sharded(model: URL, count: number): Folder {
  const bytes = new Uint8Array(readFileSync(new URL("model.safetensors", model)));
  const length = headerLength("model", bytes.subarray(0, 8), bytes.length);
  const { tensors } = parseHeader("model", bytes.subarray(8, 8 + length), bytes.length);
  const shards = Array.from({ length: count }, (): Record<string, OutputTensor> => ({}));
  const map: Record<string, string> = {};
  const nameOf = (i: number): string => `model-0000${i + 1}-of-0000${count}.safetensors`;
  for (const [i, { name, dtype, shape, start, end }] of tensors.entries()) {
    const shard = Math.floor((i * count) / tensors.length);
    shards[shard]![name] = { dtype, shape, data: bytes.slice(start, end) };
    map[name] = nameOf(shard);
  }
  const index = new TextEncoder().encode(JSON.stringify({ metadata: { total_size: bytes.length }, weight_map: map }));
  const files = FILES.filter((file) => existsSync(new URL(file, model)));
  return memoryFolder(
    {
      ...Object.fromEntries(files.map((file) => [file, new Uint8Array(readFileSync(new URL(file, model)))])),
      ...Object.fromEntries(shards.map((shard, i) => [nameOf(i), encodeSafetensors(shard)])),
      "model.safetensors.index.json": index,
    },
    "sharded",
  );
}
