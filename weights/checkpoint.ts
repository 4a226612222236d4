import { CheckpointError, WeightError } from "../src/errors.ts";
import { sizeOf } from "../src/tensor/shape.ts";
import { isFloat, toFloat32 } from "./convert.ts";
import { checkFileName, type Folder } from "./folder.ts";
import { headerLength, parseHeader, type StoredTensor } from "./safetensors.ts";

export const CHUNK_BYTES = 8 * 2 ** 20;

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Far above any real configuration or tokenizer; keeps a wrong file from filling the memory. */
const MAX_TEXT_BYTES = 100_000_000;

export type JsonObject = Readonly<Record<string, unknown>>;

export interface StreamOptions {
  /** Bytes of a stored tensor to deliver at once, a multiple of 8. Default 8 MiB */
  readonly chunkBytes?: number;
  /** Reused for every chunk; made when absent. */
  readonly buffer?: Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A checkpoint folder whose headers have been read and checked: what it holds is known, no weight has been read.
 *
 * Make one with `openCheckpoint`.
 */
export class Checkpoint {
  readonly folder: Folder;
  /** `config.json`, or undefined when the folder has none. */
  readonly config: JsonObject | undefined;
  /** Every tensor by name, in the order of files and offsets. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Entries of `__metadata__` of all files. */
  readonly metadata: ReadonlyMap<string, string>;

  constructor(
    folder: Folder,
    config: JsonObject | undefined,
    tensors: ReadonlyMap<string, StoredTensor>,
    metadata: ReadonlyMap<string, string>,
  ) {
    this.folder = folder;
    this.config = config;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  get name(): string {
    return this.folder.name;
  }

  /** Bytes of all tensors. */
  get tensorBytes(): number {
    return [...this.tensors.values()].reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Number of floating-point elements in all tensors. */
  get parameters(): number {
    return [...this.tensors.values()].reduce((sum, { dtype, shape }) => sum + (isFloat(dtype) ? sizeOf(shape) : 0), 0);
  }

  /** Text of a file beside the weights, such as `tokenizer.json`; undefined when there is none. */
  text(file: string): Promise<string | undefined> {
    return readText(this.folder, file);
  }

  /** A JSON object beside the weights, such as `generation_config.json`; undefined when there is none. */
  json(file: string): Promise<JsonObject | undefined> {
    return readJson(this.folder, file);
  }

  /**
   * A whole tensor, widened to f32.
   *
   * @throws WeightError when the checkpoint has no such tensor or it is not F32, F16 or BF16
   */
  async readF32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const stored = this.#get(name);
    if (!isFloat(stored.dtype)) throw new WeightError(`${name}: expected F32, F16 or BF16, got ${stored.dtype}`);
    return toFloat32(await this.folder.read(stored.file, stored.start, stored.end), stored.dtype);
  }

  /** The bytes of a whole tensor as stored. */
  bytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { file, start, end } = this.#get(name);
    return this.folder.read(file, start, end);
  }

  /** Reads a tensor piece by piece into one buffer; `onChunk` must be done with a piece when it returns. */
  async stream(
    name: string,
    onChunk: (chunk: Uint8Array<ArrayBuffer>, byteOffset: number) => void | Promise<void>,
    { chunkBytes = CHUNK_BYTES, buffer, signal }: StreamOptions = {},
  ): Promise<void> {
    const { file, start, end } = this.#get(name);
    const into = buffer ?? new Uint8Array(Math.min(chunkBytes, end - start));
    for (let at = start; at < end; at += chunkBytes) {
      const chunk = await this.folder.read(file, at, Math.min(end, at + chunkBytes), { into, signal });
      await onChunk(chunk, at - start);
    }
  }

  #get(name: string): StoredTensor {
    const stored = this.tensors.get(name);
    if (!stored) throw new WeightError(`${name}: not in the checkpoint ${this.name}`);
    return stored;
  }
}

/**
 * Reads `config.json` and the headers of `model.safetensors` or of the shards that `model.safetensors.index.json` lists.
 *
 * @throws CheckpointError when a file is missing, truncated or malformed; the message names it
 */
export async function openCheckpoint(folder: Folder): Promise<Checkpoint> {
  try {
    const config = await readJson(folder, "config.json");
    const tensors = new Map<string, StoredTensor>();
    const metadata = new Map<string, string>();
    const index = await readIndex(folder);
    for (const file of index?.files ?? [SINGLE]) {
      const header = await readHeader(folder, file);
      for (const [key, text] of header.metadata) metadata.set(key, text);
      for (const tensor of header.tensors) {
        const listed = index?.fileOf.get(tensor.name);
        // An index decides which copy counts; without one there is only one file.
        if (listed === file || (listed === undefined && !tensors.has(tensor.name))) tensors.set(tensor.name, tensor);
      }
    }
    for (const [name, file] of index?.fileOf ?? []) {
      if (tensors.get(name)?.file !== file) {
        throw new CheckpointError(`${folder.name}: ${INDEX} puts ${name} in ${file}, which does not have it`, {
          hint: "The shards and the index belong to different versions; fetch the folder again.",
        });
      }
    }
    return new Checkpoint(folder, config, tensors, metadata);
  } finally {
    await folder.close();
  }
}

/** Tensors and metadata of one safetensors file. */
export async function readHeader(folder: Folder, file: string) {
  const size = await folder.size(file);
  if (size === undefined) throw await missingWeights(folder, file);
  const label = `${folder.name}: ${file}`;
  const prefix = size < 8 ? new Uint8Array(0) : await folder.read(file, 0, 8);
  const length = headerLength(label, prefix, size);
  const { tensors, metadata } = parseHeader(label, await folder.read(file, 8, 8 + length), size);
  return { tensors: tensors.map((tensor) => ({ ...tensor, file })), metadata };
}

/** The shards by the index, or undefined when the folder has a single file (which wins, as in transformers). */
async function readIndex(folder: Folder) {
  if ((await folder.size(SINGLE)) !== undefined) return undefined;
  const index = await readJson(folder, INDEX);
  if (!index) return undefined;
  const map = index.weight_map;
  const entries = typeof map === "object" && map !== null ? Object.entries(map) : [];
  if (entries.length === 0) {
    throw new CheckpointError(`${folder.name}: ${INDEX}: weight_map: expected an object of tensor names and files`);
  }
  const fileOf = new Map<string, string>();
  for (const [name, file] of entries) {
    if (typeof file !== "string") {
      throw new CheckpointError(`${folder.name}: ${INDEX}: ${name}: expected a file name, got ${JSON.stringify(file)}`);
    }
    checkFileName(folder.name, file);
    fileOf.set(name, file);
  }
  return { fileOf, files: [...new Set(fileOf.values())].sort() };
}

async function missingWeights(folder: Folder, file: string): Promise<CheckpointError> {
  if (file !== SINGLE) {
    return new CheckpointError(`${folder.name}: ${file} is missing, ${INDEX} lists it`, {
      hint: "The download is incomplete; fetch the missing shard.",
    });
  }
  for (const other of ["pytorch_model.bin", "pytorch_model.bin.index.json", "mm_projector.bin"]) {
    if ((await folder.size(other)) === undefined) continue;
    return new CheckpointError(`${folder.name}: expected ${SINGLE}, got ${other}, which needs Python to read`, {
      hint: "Use the safetensors version of this checkpoint, or convert it with transformers' save_pretrained().",
    });
  }
  return new CheckpointError(`${folder.name}: neither ${SINGLE} nor ${INDEX} is there`, {
    hint: "Check the path; a checkpoint folder holds config.json and model.safetensors (or shards with an index).",
  });
}

async function readText(folder: Folder, file: string): Promise<string | undefined> {
  const size = await folder.size(file);
  if (size === undefined) return undefined;
  if (size > MAX_TEXT_BYTES) {
    throw new CheckpointError(`${folder.name}: ${file}: expected at most ${MAX_TEXT_BYTES} bytes, got ${size}`);
  }
  const bytes = await folder.read(file);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(`${folder.name}: ${file}: expected UTF-8 text`, { cause });
  }
}

async function readJson(folder: Folder, file: string): Promise<JsonObject | undefined> {
  const text = await readText(folder, file);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${folder.name}: ${file}: expected JSON, got ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CheckpointError(`${folder.name}: ${file}: expected a JSON object`);
  }
  return value as JsonObject;
}
