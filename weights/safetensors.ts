import { CheckpointError, InputError } from "../src/errors.ts";
import { type Shape, showShape } from "../src/tensor/shape.ts";

/** Bytes per element of every element type the format defines with whole bytes. */
export const STORED_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

export type StoredDType = keyof typeof STORED_BYTES;

/** One tensor as the header describes it; `start` and `end` are byte positions in the file. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: Shape;
  /** Name of the file inside the checkpoint folder. */
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

export interface Header {
  /** In file order. */
  readonly tensors: readonly StoredTensor[];
  readonly metadata: ReadonlyMap<string, string>;
}

/** The reference implementation refuses longer headers too. */
const MAX_HEADER_BYTES = 100_000_000;
const PREFIX_BYTES = 8;

/**
 * Length of the JSON header, from the first 8 bytes of a file of `fileBytes` bytes.
 *
 * @throws CheckpointError when the file cannot hold such a header
 */
export function headerLength(file: string, prefix: Uint8Array, fileBytes: number): number {
  if (fileBytes < PREFIX_BYTES || prefix.length < PREFIX_BYTES) {
    throw new CheckpointError(`${file}: truncated: expected a safetensors file, got ${fileBytes} bytes`, {
      hint: "The download is probably incomplete; fetch the file again.",
    });
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES) || length < 2n) {
    throw new CheckpointError(`${file}: expected a header of 2 to ${MAX_HEADER_BYTES} bytes, got ${length}`, {
      hint: isLfsPointer(prefix)
        ? "This is a Git LFS pointer; run `git lfs pull` to fetch the real file."
        : "This is not a safetensors file, or it is damaged.",
    });
  }
  const bytes = Number(length);
  if (PREFIX_BYTES + bytes > fileBytes) throw truncated(file, PREFIX_BYTES + bytes, fileBytes);
  return bytes;
}

/**
 * Checks and reads the JSON header that follows the 8-byte length (format: github.com/huggingface/safetensors).
 *
 * As in the reference implementation tensors must cover the rest of the file exactly: no gap, no overlap, no tail.
 *
 * @param file      name for errors and for `StoredTensor.file`
 * @param json      the header's bytes, without the 8-byte length
 * @param fileBytes size of the whole file
 * @throws CheckpointError naming the file, the tensor, what was expected and what was found
 */
export function parseHeader(file: string, json: Uint8Array, fileBytes: number): Header {
  const dataStart = PREFIX_BYTES + json.length;
  const metadata = new Map<string, string>();
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of parseJsonObject(file, json)) {
    if (name === "__metadata__") readMetadata(file, entry, metadata);
    else tensors.push(parseEntry(file, name, entry, dataStart));
  }
  tensors.sort((a, b) => a.start - b.start || a.end - b.end);
  checkCoverage(file, tensors, dataStart, fileBytes);
  return { tensors, metadata };
}

function parseJsonObject(file: string, json: Uint8Array): [string, unknown][] {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(json);
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${file}: expected a JSON header, got ${showStart(json)}`, {
      cause,
      hint: "This is not a safetensors file, or it is damaged.",
    });
  }
  if (!isRecord(value)) throw new CheckpointError(`${file}: expected a JSON object as header, got ${showStart(json)}`);
  const entries = Object.entries(value);
  const keys = countTopLevelKeys(text);
  if (keys !== entries.length) {
    throw new CheckpointError(`${file}: expected distinct tensor names, got ${keys - entries.length} duplicate(s)`);
  }
  return entries;
}

/** JSON.parse keeps the last of equal keys and drops the others without a word; counting them shows that. */
function countTopLevelKeys(text: string): number {
  let depth = 0;
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]") depth--;
    else if (c === ":" && depth === 1) count++;
    else if (c === '"') {
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
    }
  }
  return count;
}

function parseEntry(file: string, name: string, entry: unknown, dataStart: number): StoredTensor {
  const wrong = (what: string, expected: string, got: unknown) =>
    new CheckpointError(`${file}: ${name}: ${what}: expected ${expected}, got ${show(got)}`);
  if (!isRecord(entry)) throw wrong("entry", "an object with dtype, shape and data_offsets", entry);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(STORED_BYTES, dtype)) {
    throw wrong("dtype", `one of ${Object.keys(STORED_BYTES).join(", ")}`, dtype);
  }
  if (!isCounts(shape)) throw wrong("shape", "a list of whole numbers", shape);
  if (!isCounts(offsets) || offsets.length !== 2) throw wrong("data_offsets", "two whole numbers", offsets);
  const [from, to] = offsets as [number, number];
  const stored = dtype as StoredDType;
  const bytes = bytesOf(stored, shape);
  if (!Number.isSafeInteger(bytes)) throw wrong("shape", "a tensor that fits in memory", shape);
  if (to - from !== bytes) {
    throw wrong("data_offsets", `${bytes} bytes for ${stored} ${showShape(shape)}`, `${to - from} (${from}…${to})`);
  }
  return { name, dtype: stored, shape, file, start: dataStart + from, end: dataStart + to };
}

function readMetadata(file: string, value: unknown, into: Map<string, string>): void {
  if (!isRecord(value)) {
    throw new CheckpointError(`${file}: __metadata__: expected an object of strings, got ${show(value)}`);
  }
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw new CheckpointError(`${file}: __metadata__: ${key}: expected a string, got ${show(text)}`);
    }
    into.set(key, text);
  }
}

function checkCoverage(file: string, tensors: readonly StoredTensor[], dataStart: number, fileBytes: number): void {
  let position = dataStart;
  for (const { name, start, end } of tensors) {
    if (start !== position) {
      const problem = start < position ? "overlaps the tensor before it" : "leaves a gap after the tensor before it";
      const [expected, got] = [position - dataStart, start - dataStart];
      throw new CheckpointError(`${file}: ${name}: ${problem}: expected data at offset ${expected}, got ${got}`);
    }
    position = end;
  }
  if (position > fileBytes) throw truncated(file, position, fileBytes);
  if (position < fileBytes) {
    throw new CheckpointError(`${file}: expected ${position} bytes by its header, the file has ${fileBytes}`, {
      hint: "Something was appended to the file, or its header was damaged; fetch it again.",
    });
  }
}

const truncated = (file: string, promised: number, actual: number) =>
  new CheckpointError(`${file}: truncated: expected ${promised} bytes by its header, the file has ${actual}`, {
    hint: "The download is incomplete; fetch the file again.",
  });

/** A tensor to write: its elements little-endian, row-major. */
export interface OutputTensor {
  readonly dtype: StoredDType;
  readonly shape: Shape;
  readonly data: ArrayBufferView;
}

/**
 * The start of a safetensors file: 8-byte length and JSON, padded so that the data begins at a multiple of 8.
 *
 * Data must follow in the order of `tensors`; equal input gives equal bytes.
 */
export function encodeHeader(
  tensors: Iterable<readonly [name: string, Omit<OutputTensor, "data">]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const [name, { dtype, shape }] of tensors) {
    if (name === "__metadata__") throw new InputError('a tensor cannot be called "__metadata__"');
    const end = offset + bytesOf(dtype, shape);
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`);
    offset = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(PREFIX_BYTES + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, PREFIX_BYTES);
  return header;
}

/**
 * A safetensors file. Tensors are written by descending element size, then by name, as the reference writer does, so
 * that each lies at a multiple of its element size.
 *
 * @throws InputError when a tensor's bytes do not match its shape
 */
export function encodeSafetensors(
  tensors: Readonly<Record<string, OutputTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const sorted = Object.entries(tensors).sort(
    ([a, { dtype: x }], [b, { dtype: y }]) => STORED_BYTES[y] - STORED_BYTES[x] || (a < b ? -1 : 1),
  );
  const header = encodeHeader(sorted, metadata);
  let size = header.length;
  for (const [name, { dtype, shape, data }] of sorted) {
    const expected = bytesOf(dtype, shape);
    if (data.byteLength !== expected) {
      const what = `${expected} bytes for ${dtype} ${showShape(shape)}`;
      throw new InputError(`${name}: expected ${what}, got ${data.byteLength}`);
    }
    size += expected;
  }
  const file = new Uint8Array(size);
  file.set(header);
  let offset = header.length;
  for (const [, { data }] of sorted) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return file;
}

const bytesOf = (dtype: StoredDType, shape: Shape): number =>
  shape.reduce((product, axis) => product * axis, STORED_BYTES[dtype]);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0);

const show = (value: unknown): string =>
  value === undefined ? "nothing" : typeof value === "string" ? value.slice(0, 80) : JSON.stringify(value).slice(0, 80);

const showStart = (bytes: Uint8Array): string =>
  JSON.stringify(String.fromCharCode(...bytes.subarray(0, 24)).replace(/[^\x20-\x7e]/g, "."));

/** Git LFS pointer files begin with "version https://git-lfs…". */
const isLfsPointer = (prefix: Uint8Array): boolean => String.fromCharCode(...prefix).startsWith("version");
