import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { CHUNK_BYTES, type Checkpoint } from "../../weights/checkpoint.ts";
import { FLOAT_BYTES, isFloat, toFloat32 } from "../../weights/convert.ts";
import { QUANT_METHOD } from "../../weights/formats.ts";
import { dequantize, quantize } from "../../weights/quant.ts";
import { bytesOf, byWidth, type Entry, entriesOf } from "../../weights/quant_entries.ts";
import { companions } from "../../weights/quant_load.ts";
import { encodeHeader, type StoredTensor } from "../../weights/safetensors.ts";
import type { QuantFormats } from "../../weights/weights.ts";
import { InputError } from "../errors.ts";
import { Gpu } from "../gpu/gpu.ts";
import { nodeFolder } from "../node/folder.ts";
import { writeAll } from "../node/write_all.ts";
import { assemble, openParts } from "../pipeline/assemble.ts";
import { GROUP, type QuantFormat } from "../tensor/quantized.ts";
import { writeWhole, writing } from "./files.ts";

export interface QuantizeOptions {
  readonly format: QuantFormat;
  /** Of the embedding and the output head. Default int8 */
  readonly embeddings?: QuantFormat | undefined;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface Report {
  readonly output: string;
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly matrices: readonly RoundedMatrix[];
}

export interface RoundedMatrix {
  readonly name: string;
  readonly format: QuantFormat;
  /** Root of Σ (rounded − stored)² / Σ stored². */
  readonly error: number;
}

/** Remembers, in the unfinished folder, what it is being made of, and which files are whole. */
const STATE = "quantize.state.json";

interface State {
  readonly source: string;
  /** Report of each file that is whole. */
  readonly done: Record<string, { bytes: number; matrices: RoundedMatrix[] }>;
}

/**
 * Writes a checkpoint folder whose language model's matrices are codes (see weights/README.md): the same files under the same
 * names, each shard for itself. It is written next to `output` and renamed when it is complete; whole shards of an interrupted
 * run are kept when the source has not changed since.
 *
 * @throws InputError when `output` exists or cannot be written, or the weights are codes already
 */
export async function quantizeFolder(input: string, output: string, options: QuantizeOptions): Promise<Report> {
  const { format, embeddings = "int8", onProgress } = options;
  const formats = { linear: format, table: embeddings };
  if (await stat(output).catch(() => undefined)) {
    throw new InputError(`${output}: expected a folder that does not exist yet`, {
      hint: "Choose another name, or remove it.",
    });
  }
  const { checkpoint, rounded } = await plan(input, formats);
  const partial = `${resolve(output)}.partial`;
  const state = await begin(partial, JSON.stringify([resolve(input), formats, await fingerprint(checkpoint)]));
  const byFile = new Map<string, StoredTensor[]>();
  for (const tensor of checkpoint.tensors.values()) {
    byFile.set(tensor.file, [...(byFile.get(tensor.file) ?? []), tensor]);
  }
  let done = 0;
  const progress = (bytes: number): void => {
    done += bytes;
    onProgress?.(done, checkpoint.tensorBytes);
  };
  const index: Record<string, string> = {};
  for (const [file, tensors] of byFile) {
    const writer = new ShardWriter(checkpoint, tensors, rounded);
    for (const { name } of writer.entries) index[name] = file;
    if (state.done[file]) {
      progress(tensors.reduce((sum, { start, end }) => sum + end - start, 0));
      continue;
    }
    const matrices = await writer.write(join(partial, file), progress);
    state.done[file] = { bytes: writer.bytes, matrices };
    await write(join(partial, STATE), JSON.stringify(state));
  }
  const files = Object.values(state.done);
  const outputBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  await copyRest(input, partial, formats, checkpoint, byFile.size > 1 ? { index, outputBytes } : undefined);
  await writing(output, async () => {
    await rm(join(partial, STATE));
    await rename(partial, output);
  });
  return {
    output,
    inputBytes: checkpoint.tensorBytes,
    outputBytes,
    matrices: files.flatMap(({ matrices }) => matrices),
  };
}

/** Which matrices become codes: those that the model's layers, put together without a GPU, declare as such. */
async function plan(
  input: string,
  formats: QuantFormats,
): Promise<{ checkpoint: Checkpoint; rounded: ReadonlyMap<string, QuantFormat> }> {
  const parts = await openParts({ language: await nodeFolder(input) });
  const { checkpoint } = parts.language;
  if ([...checkpoint.tensors.values()].some(({ name }) => checkpoint.tensors.has(companions(name).scales))) {
    throw new InputError(`${input}: expected floating-point weights, got a quantised checkpoint`, {
      hint: "Start from the original: codes cannot be rounded again.",
    });
  }
  const { weights } = assemble(Gpu.dry(), parts, "f32", { formats });
  const rounded = [...weights[0]!.rounded].map(([name, { format }]) => [name, format] as const);
  return { checkpoint, rounded: new Map(rounded) };
}

/** Sizes and times of the weight files. */
async function fingerprint({ name, tensors }: Checkpoint): Promise<unknown> {
  const files = [...new Set([...tensors.values()].map(({ file }) => file))];
  return Promise.all(
    files.map(async (file) => {
      const { size, mtimeMs } = await stat(join(name, file));
      return [file, size, mtimeMs];
    }),
  );
}

async function begin(partial: string, source: string): Promise<State> {
  try {
    const state = JSON.parse(await readFile(join(partial, STATE), "utf8")) as State;
    if (state.source === source) return state;
  } catch {
    // None, or damaged: start over.
  }
  await writing(partial, async () => {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
  });
  return { source, done: {} };
}

type Put = (at: number, bytes: Uint8Array) => Promise<void>;

/** One safetensors file: some tensors as they are, others as codes and scales. */
class ShardWriter {
  readonly entries: readonly Entry[];
  readonly bytes: number;
  readonly #checkpoint: Checkpoint;
  readonly #tensors: readonly StoredTensor[];
  readonly #rounded: ReadonlyMap<string, QuantFormat>;
  readonly #offsets = new Map<string, number>();
  readonly #header: Uint8Array;

  constructor(checkpoint: Checkpoint, tensors: readonly StoredTensor[], rounded: ReadonlyMap<string, QuantFormat>) {
    this.#checkpoint = checkpoint;
    this.#tensors = tensors;
    this.#rounded = rounded;
    this.entries = tensors.flatMap((tensor) => entriesOf(tensor, rounded.get(tensor.name))).sort(byWidth);
    const listed = this.entries.map(({ name, ...rest }) => [name, rest] as const);
    this.#header = encodeHeader(listed, Object.fromEntries(checkpoint.metadata));
    let offset = this.#header.length;
    for (const entry of this.entries) {
      this.#offsets.set(entry.name, offset);
      offset += bytesOf(entry);
    }
    this.bytes = offset - this.#header.length;
  }

  /** Writes under another name first: only a whole file ever bears `path`. */
  async write(path: string, progress: (bytes: number) => void): Promise<RoundedMatrix[]> {
    const file = await writing(path, () => open(`${path}.tmp`, "w"));
    const put: Put = (at, bytes) => writing(path, () => writeAll(file, at, bytes));
    const matrices: RoundedMatrix[] = [];
    try {
      await put(0, this.#header);
      for (const tensor of this.#tensors) {
        const format = this.#rounded.get(tensor.name);
        if (format)
          matrices.push({ name: tensor.name, format, error: await this.#round(put, tensor, format, progress) });
        else await this.#copy(put, tensor, progress);
      }
      await writing(path, () => file.sync());
    } finally {
      await file.close();
      await this.#checkpoint.folder.close();
    }
    await writing(path, () => rename(`${path}.tmp`, path));
    return matrices;
  }

  async #copy(put: Put, { name }: StoredTensor, progress: (bytes: number) => void): Promise<void> {
    const start = this.#offsets.get(name)!;
    await this.#checkpoint.stream(name, async (chunk, at) => {
      await put(start + at, chunk);
      progress(chunk.length);
    });
  }

  async #round(
    put: Put,
    tensor: StoredTensor,
    format: QuantFormat,
    progress: (bytes: number) => void,
  ): Promise<number> {
    const { name, dtype, shape } = tensor;
    if (!isFloat(dtype)) throw new InputError(`${name}: expected F32, F16 or BF16, got ${dtype}`);
    const names = companions(name);
    const at = {
      codes: this.#offsets.get(name)!,
      scales: this.#offsets.get(names.scales)!,
      offsets: this.#offsets.get(names.offsets),
    };
    const rowBytes = shape[1]! * FLOAT_BYTES[dtype];
    const append = async (place: keyof typeof at, part: Uint32Array | Uint16Array): Promise<void> => {
      await put(at[place]!, new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
      at[place] = at[place]! + part.byteLength;
    };
    let error = 0;
    let power = 0;
    await this.#checkpoint.stream(
      name,
      async (chunk) => {
        const values = toFloat32(chunk, dtype);
        const stored = quantize(values, format);
        await append("codes", stored.codes);
        await append("scales", stored.scales);
        if (stored.offsets) await append("offsets", stored.offsets);
        const back = dequantize(stored, format);
        for (let i = 0; i < values.length; i++) {
          error += (back[i]! - values[i]!) ** 2;
          power += values[i]! ** 2;
        }
        progress(chunk.length);
      },
      { chunkBytes: Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)) * rowBytes },
    );
    return power === 0 ? 0 : Math.sqrt(error / power);
  }
}

/** Configuration, index, tokenizer and the like; weights in other formats stay behind. */
async function copyRest(
  input: string,
  output: string,
  { linear: format, table: embeddings }: QuantFormats,
  checkpoint: Checkpoint,
  sharded: { index: Record<string, string>; outputBytes: number } | undefined,
): Promise<void> {
  const json = (file: string, value: unknown) => write(join(output, file), `${JSON.stringify(value, null, 2)}\n`);
  for (const entry of await readdir(input, { withFileTypes: true })) {
    const isWeights = /\.(safetensors|bin|pth?|gguf|onnx|h5|msgpack)$|\.index\.json$/.test(entry.name);
    if (entry.isDirectory() || entry.name.startsWith(".") || isWeights || entry.name === "config.json") continue;
    const [from, to] = [join(input, entry.name), join(output, basename(entry.name))];
    await writing(`${to}, a copy of ${from}`, () => copyFile(from, to));
  }
  const quantization = { quant_method: QUANT_METHOD, format, embeddings, group_size: GROUP };
  await json("config.json", { ...checkpoint.config, quantization_config: quantization });
  if (!sharded) return;
  const { index, outputBytes } = sharded;
  await json("model.safetensors.index.json", { metadata: { total_size: outputBytes }, weight_map: index });
}

/** The temporary name is always the same: what a killed run left of it is written over by the next. */
const write = (path: string, text: string): Promise<void> => writeWhole(path, text, `${path}.tmp`);
