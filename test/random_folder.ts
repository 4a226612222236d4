// A checkpoint of full size that nobody has to download or store: its bytes are made when they are read.
import { readFileSync } from "node:fs";
import { toHalf } from "../src/tensor/half.ts";
import { endsEarly, type Folder, missingFile } from "../weights/folder.ts";
import { encodeHeader } from "../weights/safetensors.ts";
import { randomFrom } from "./mutate.ts";
import { CONFIGS, PREPROCESSOR } from "./random_shapes.ts";
import { type RandomTensor, tensorsOf } from "./random_tensors.ts";

export type HalfType = "bf16" | "f16";

/** Prime, so that the rows of a matrix are shifted copies of each other rather than equal. */
const PERIOD = 262_147;
const MAX_SHARD_BYTES = 4e9;

const sizeOf = ({ shape }: RandomTensor): number => shape.reduce((product, axis) => product * axis, 1);

/** One period of normal numbers. */
function normals(seed: number): Float64Array {
  const random = randomFrom(seed);
  return Float64Array.from({ length: PERIOD }, () => {
    return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  });
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

function toBrain(x: number): number {
  single[0] = x;
  return (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16;
}

/** Fills tensors; equal deviations share one block of numbers. */
class Noise {
  readonly #blocks = new Map<string, Uint16Array>();
  readonly #normals: Float64Array;
  readonly #encode: (x: number) => number;

  constructor(seed: number, dtype: HalfType) {
    this.#normals = normals(seed);
    this.#encode = dtype === "bf16" ? toBrain : toHalf;
  }

  /** Elements of `tensor` from `from` on; the tensor begins at `phase` of the endless sequence. */
  fill(target: Uint16Array, { mean = 0, std, centre, shape }: RandomTensor, phase: number, from: number): void {
    const block = this.#block(mean, std);
    let at = 0;
    for (let place = (phase + from) % PERIOD; at < target.length; place = 0) {
      const part = block.subarray(place, place + target.length - at);
      target.set(part, at);
      at += part.length;
    }
    if (centre === undefined) return;
    const taps = (shape[2] ?? 1) * (shape[3] ?? 1);
    const first = (taps - 1) / 2;
    for (let i = (first + taps - (from % taps)) % taps; i < target.length; i += taps) target[i] = this.#encode(centre);
  }

  #block(mean: number, std: number): Uint16Array {
    const key = `${mean} ${std}`;
    const known = this.#blocks.get(key) ?? Uint16Array.from(this.#normals, (x) => this.#encode(mean + std * x));
    this.#blocks.set(key, known);
    return known;
  }
}

/** A tensor's place in its file, in bytes, and in the endless sequence, in elements. */
interface Placed {
  readonly tensor: RandomTensor;
  readonly start: number;
  readonly end: number;
  readonly phase: number;
}

interface RandomFile {
  readonly header: Uint8Array;
  readonly bytes: number;
  readonly tensors: readonly Placed[];
}

/** The shape of a published model, one of `CONFIGS`, with random weights. */
export function randomFolder(shape: string, dtype: HalfType = "bf16", seed = 1): Folder & { readonly files: string[] } {
  const { config, generation, tokenizer } = CONFIGS[shape]!;
  const golden = tokenizer && new URL(`./golden/models/${tokenizer}/tokenizer.json`, import.meta.url);
  const multimodal = config.model_type === "llava_qwen2" || config.model_type === "fast_vlm";
  return randomFolderOf(tensorsOf(shape), {
    name: `random ${shape}`,
    dtype,
    seed,
    texts: {
      "config.json": json({ ...config, torch_dtype: dtype === "bf16" ? "bfloat16" : "float16" }),
      ...(generation && { "generation_config.json": json(generation) }),
      ...(multimodal && { "preprocessor_config.json": json(PREPROCESSOR) }),
      ...(golden && { "tokenizer.json": readFileSync(golden, "utf8") }),
    },
  });
}

/** A folder of these tensors, in shards of at most 4 GB, and text files beside them. */
export function randomFolderOf(
  tensors: readonly RandomTensor[],
  {
    name,
    dtype,
    seed = 1,
    texts,
  }: { name: string; dtype: HalfType; seed?: number; texts: Readonly<Record<string, string>> },
): Folder & { readonly files: string[] } {
  const shards = place(tensors, dtype);
  const noise = new Noise(seed, dtype);
  const small = new Map(Object.entries(texts).map(([file, text]) => [file, new TextEncoder().encode(text)]));
  if (shards.size > 1) {
    const map = [...shards].flatMap(([file, shard]) => shard.tensors.map(({ tensor }) => [tensor.name, file]));
    const index = json({ metadata: {}, weight_map: Object.fromEntries(map) });
    small.set("model.safetensors.index.json", new TextEncoder().encode(index));
  }
  const sizeIn = (file: string): number | undefined => small.get(file)?.length ?? shards.get(file)?.bytes;
  return {
    name,
    files: [...small.keys(), ...shards.keys()],
    size: async (file) => sizeIn(file),
    async read(file, start = 0, end = sizeIn(file), { into, signal } = {}) {
      signal?.throwIfAborted();
      const size = sizeIn(file);
      if (size === undefined || end === undefined) throw missingFile(name, file);
      if (end > size) throw endsEarly(name, file, end, size);
      const target = into?.subarray(0, end - start) ?? new Uint8Array(end - start);
      const shard = shards.get(file);
      if (shard) readShard(shard, noise, target, start);
      else target.set(small.get(file)!.subarray(start, end));
      return target;
    },
    close: async () => {},
  };
}

/** `start` and the length are even within the tensors, as readers of whole elements have it. */
function readShard(
  { header, tensors }: RandomFile,
  noise: Noise,
  target: Uint8Array<ArrayBuffer>,
  start: number,
): void {
  const end = start + target.length;
  if (start < header.length) target.set(header.subarray(start, end));
  for (const { tensor, phase, ...at } of tensors) {
    const [from, to] = [Math.max(start, at.start), Math.min(end, at.end)];
    if (from >= to) continue;
    const part = new Uint16Array(target.buffer, target.byteOffset + from - start, (to - from) / 2);
    noise.fill(part, tensor, phase, (from - at.start) / 2);
  }
}

function place(tensors: readonly RandomTensor[], dtype: HalfType): Map<string, RandomFile> {
  const shards: RandomTensor[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + 2 * sizeOf(tensor) > MAX_SHARD_BYTES) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += 2 * sizeOf(tensor);
  }
  let phase = 0;
  const stored = dtype === "bf16" ? "BF16" : "F16";
  const number = (n: number): string => String(n).padStart(5, "0");
  return new Map(
    shards.map((shard, i) => {
      const header = encodeHeader(
        shard.map((tensor) => [tensor.name, { dtype: stored, shape: tensor.shape }] as const),
        { format: "pt" },
      );
      let start = header.length;
      const placed = shard.map((tensor): Placed => {
        const at = { tensor, start, end: start + 2 * sizeOf(tensor), phase };
        start = at.end;
        phase = (phase + sizeOf(tensor)) % PERIOD;
        return at;
      });
      const several = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
      return [shards.length === 1 ? "model.safetensors" : several, { header, bytes: start, tensors: placed }];
    }),
  );
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
