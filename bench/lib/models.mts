// What the benches run: the embedded checkpoint, published shapes with random weights, or a folder of the user's.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { encode } from "jpeg-js";
import { InputError } from "../../src/errors.ts";
import type { Source } from "../../src/node.ts";
import { inspectCheckpoint } from "../../src/pipeline/inspect.ts";
import { randomFrom } from "../../test/mutate.ts";
import { randomFolder } from "../../test/random_folder.ts";

/** A model to measure, as a command line names it: `fastvlm-0.5b`, `fastvlm-phi-4:int4`, or a folder. */
export interface Choice {
  readonly name: string;
  readonly quantize?: Bits | undefined;
  /** Of the embedding and the head, where `quantize` is given. Default int8 */
  readonly embeddings?: Bits | undefined;
}

export type Bits = "int4" | "int8";

const EMBEDDED = fileURLToPath(new URL("../../weights/fastvlm-tiny", import.meta.url));

/** Random weights of these shapes. */
export const SHAPES = ["fastvlm-0.5b", "fastvlm-1.5b", "fastvlm-phi-4-mini", "fastvlm-phi-4"];

/** Names as flags give them, comma-separated; a suffix outweighs `quantize`. */
export function parseModels(list: string, { quantize, embeddings }: Omit<Choice, "name"> = {}): Choice[] {
  return list.split(",").map((item) => {
    const [, name = item, suffix] = /^(.*):(int4|int8)$/.exec(item.trim()) ?? [undefined, item.trim()];
    const bits = (suffix as Bits | undefined) ?? quantize;
    return { name, quantize: bits, embeddings: bits && embeddings };
  });
}

/** Where the weights come from, or in words why there are none. */
export function sourceOf({ name }: Choice): Source | { readonly missing: string } {
  if (SHAPES.includes(name)) return randomFolder(name);
  if (name !== "tiny") {
    if (existsSync(name)) return name;
    throw new InputError(`--models: expected tiny, ${SHAPES.join(", ")} or a folder, got ${name}`);
  }
  return existsSync(`${EMBEDDED}/model.safetensors`)
    ? EMBEDDED
    : { missing: "the embedded checkpoint is not in this copy" };
}

/** A picture as a camera would make it, as a JPEG: smooth, with some grain. */
export function photo(width = 1600, height = 1200): Uint8Array<ArrayBuffer> {
  const random = randomFrom(7);
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const wave = 100 + 60 * Math.sin(x / 90) + 60 * Math.cos(y / 70 + x / 200);
      for (let c = 0; c < 3; c++) data[(y * width + x) * 4 + c] = wave + 20 * c * random();
    }
  }
  return new Uint8Array(encode({ width, height, data }, 85).data);
}

/** Bytes of a checkpoint's weights on the GPU, about. */
export async function weightBytes(source: Source, dtype: "f32" | "f16" = "f16", quantize?: Bits) {
  const { parameters } = await inspectCheckpoint(source);
  const bytes = { f32: 4, f16: 2, int8: 1.1, int4: 0.6 };
  return parameters * bytes[quantize ?? dtype];
}
