// Codes of a checkpoint of numbers, kept in a file for the next start: the tensors that `fastvlm quantize` would write for its
// rounded matrices, and nothing else. Everything that is not rounded is read from the checkpoint as ever.

import { CheckpointError } from "../src/errors.ts";
import { sameShape } from "../src/tensor/shape.ts";
import { Checkpoint, readHeader } from "./checkpoint.ts";
import type { Folder, ReadOptions } from "./folder.ts";
import { deinterleave } from "./quant.ts";
import { bytesOf, byWidth, type Entry, entriesOf } from "./quant_entries.ts";
import { companions, type RoundedPart } from "./quant_load.ts";
import { encodeHeader, type StoredTensor } from "./safetensors.ts";
import { sha256 } from "./sha256.ts";

/** The matrices to round, by the name of the stored one. */
type Rounded = ReadonlyMap<string, RoundedPart>;

/** Writes bytes at a place of a file. */
export type Put = (at: number, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;

/** A place for files that can be made again. */
export interface CodeStore {
  /** A folder that holds `file`, or undefined when there is none. */
  open(file: string): Promise<Folder | undefined>;
  /** Makes `file`, whole or not at all. Returns whether there was room for it. */
  write(file: string, bytes: number, fill: (put: Put) => Promise<void>): Promise<boolean>;
  remove(file: string): Promise<void>;
}

/** The kept codes are not what was kept. They can be made again. */
export class DamagedCodes extends CheckpointError {}

/** Part of every key: to be raised when rounding or the file changes. */
const VERSION = 1;
/** Bytes of every matrix that are part of the key. */
const SAMPLE_BYTES = 256;
/** Bytes of codes that are read back from the GPU at once. */
const PIECE_BYTES = 4 * 2 ** 20;
const CHECKSUMS = "fastvlm.checksums";

/**
 * The name of the file that keeps the codes of this checkpoint. Headers, sizes, versions of the files, configuration, and a
 * sample of every matrix decide it; where the checkpoint lies does not.
 *
 * @returns undefined when the folder cannot tell versions of its files apart, or the codes cannot be stored
 */
export async function codesFile(checkpoint: Checkpoint, rounded: Rounded): Promise<string | undefined> {
  const { folder, config, tensors } = checkpoint;
  if (rounded.size === 0 || [...rounded.values()].some(({ first }) => first % 8 !== 0)) return undefined;
  const sources = [...rounded.keys()].map((name) => tensors.get(name)).filter((source) => source !== undefined);
  const files = [...new Set(sources.map(({ file }) => file))].sort();
  const versions = await Promise.all(files.map((file) => folder.version?.(file)));
  if (sources.length < rounded.size || versions.some((version) => version === undefined)) return undefined;
  const sizes = await Promise.all(files.map((file) => folder.size(file)));
  const samples = await Promise.all(
    sources.map(({ file, start, end }) => {
      const from = start + Math.max(0, Math.floor((end - start - SAMPLE_BYTES) / 2));
      return folder.read(file, from, Math.min(end, from + SAMPLE_BYTES));
    }),
  );
  const formats = [...rounded].map(([name, part]) => [name, part.format]);
  const identity = JSON.stringify([VERSION, formats, files, sizes, versions, config, [...tensors.values()]]);
  return `${await sha256(await new Blob([identity, ...samples]).arrayBuffer())}.safetensors`;
}

/** What the file holds, in order. */
function entriesFor({ tensors }: Checkpoint, rounded: Rounded): Entry[] {
  return [...rounded].flatMap(([name, { format }]) => entriesOf(tensors.get(name)!, format)).sort(byWidth);
}

/**
 * Writes the codes of loaded matrices, read back from the GPU piece by piece.
 *
 * @param turn awaited before every piece, so that others can go first
 */
export async function writeCodes(
  checkpoint: Checkpoint,
  rounded: Rounded,
  store: CodeStore,
  file: string,
  turn: () => Promise<void>,
): Promise<boolean> {
  const entries = entriesFor(checkpoint, rounded);
  const sums = new Map(entries.map(({ name }) => [name, 0]));
  const header = () => {
    const checksums = [...sums.values()].map((sum) => (sum >>> 0).toString(16).padStart(8, "0")).join();
    return encodeHeader(
      entries.map(({ name, ...rest }) => [name, rest] as const),
      { [CHECKSUMS]: checksums },
    );
  };
  const starts = new Map<string, number>();
  let bytes = header().length;
  for (const entry of entries) {
    starts.set(entry.name, bytes);
    bytes += bytesOf(entry);
  }
  return store.write(file, bytes, async (put) => {
    const written = new Map<string, number>();
    const append = async (name: string, data: Uint32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>): Promise<void> => {
      const part = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const at = written.get(name) ?? 0;
      written.set(name, at + part.length);
      sums.set(name, sums.get(name)! + checksum(part, at));
      await put(starts.get(name)! + at, part);
    };
    for (const [name, part] of rounded) await writeMatrix(name, part, append, turn);
    await put(0, header());
  });
}

async function writeMatrix(
  name: string,
  { matrix, format, first, rows }: RoundedPart,
  append: (name: string, data: Uint32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>) => Promise<void>,
  turn: () => Promise<void>,
): Promise<void> {
  const [O, C] = matrix.shape;
  const step = Math.max(8, Math.floor((PIECE_BYTES * O) / matrix.codes.bytes / 8) * 8);
  const names = companions(name);
  for (let row = 0; row < rows; row += step) {
    await turn();
    const end = Math.min(rows, row + step);
    const { gpu, codes, scales } = matrix.rows(first + row, first + end);
    const read = await Promise.all([gpu.readBytes(codes), gpu.readBytes(scales)]);
    const words = { codes: new Uint32Array(read[0]), scales: new Uint32Array(read[1]) };
    const stored = deinterleave(words, format, [end - row, C]);
    await append(name, stored.codes);
    await append(names.scales, stored.scales);
    if (stored.offsets) await append(names.offsets, stored.offsets);
  }
}

/**
 * The checkpoint with kept codes in place of the matrices they were made from.
 *
 * @throws DamagedCodes when the file is not what `writeCodes` wrote for this checkpoint; reading through the result throws it too
 */
export async function withCodes(
  checkpoint: Checkpoint,
  rounded: Rounded,
  codes: Folder,
  file: string,
): Promise<Checkpoint> {
  const expected = entriesFor(checkpoint, rounded);
  const { tensors, metadata } = await readHeader(codes, file).catch((cause: unknown) => {
    throw new DamagedCodes(`${codes.name}: ${file}: cannot be read`, { cause });
  });
  const sums = metadata.get(CHECKSUMS)?.split(",") ?? [];
  const same = (entry: Entry, stored: StoredTensor | undefined): boolean =>
    entry.name === stored?.name && entry.dtype === stored.dtype && sameShape(entry.shape, stored.shape);
  const fits = expected.every((entry, i) => same(entry, tensors[i]));
  if (!fits || tensors.length !== expected.length || sums.length !== expected.length) {
    throw new DamagedCodes(`${codes.name}: ${file}: expected ${expected.length} matrices and their checksums`);
  }
  const checks = tensors.map((tensor, i) => ({ tensor, sum: Number.parseInt(sums[i]!, 16) }));
  const rest = [...checkpoint.tensors].filter(([name]) => !rounded.has(name));
  const merged = new Map([...rest, ...tensors.map((tensor) => [tensor.name, tensor] as const)]);
  const folder = new CheckedFolder(checkpoint.folder, codes, file, checks);
  return new Checkpoint(folder, checkpoint.config, merged, checkpoint.metadata);
}

interface Check {
  readonly tensor: StoredTensor;
  readonly sum: number;
}

/** A checkpoint's folder with one file more, whose tensors are compared with their checksums as they are read. */
class CheckedFolder implements Folder {
  readonly name: string;
  readonly #base: Folder;
  readonly #codes: Folder;
  readonly #file: string;
  readonly #checks: readonly Check[];
  /** Of tensors that have been read in part: bytes, and the sum of their words. */
  readonly #begun = new Map<Check, { bytes: number; sum: number }>();

  constructor(base: Folder, codes: Folder, file: string, checks: readonly Check[]) {
    this.name = base.name;
    this.#base = base;
    this.#codes = codes;
    this.#file = file;
    this.#checks = checks;
  }

  size(file: string, options?: Pick<ReadOptions, "signal">): Promise<number | undefined> {
    return (file === this.#file ? this.#codes : this.#base).size(file, options);
  }

  async read(file: string, start = 0, end?: number, options: ReadOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    if (file !== this.#file) return this.#base.read(file, start, end, options);
    const bytes = await this.#codes.read(file, start, end, options).catch((cause: unknown) => {
      options.signal?.throwIfAborted();
      throw this.#damaged("cannot be read", cause);
    });
    this.#add(start, bytes);
    return bytes;
  }

  async close(): Promise<void> {
    this.#begun.clear();
    await Promise.all([this.#base.close(), this.#codes.close()]);
  }

  #add(start: number, bytes: Uint8Array<ArrayBuffer>): void {
    const check = this.#checks.find(({ tensor }) => tensor.start <= start && start < tensor.end);
    if (!check) return;
    const { tensor } = check;
    const begun = this.#begun.get(check) ?? { bytes: 0, sum: 0 };
    begun.bytes += bytes.length;
    begun.sum += checksum(bytes, start - tensor.start);
    this.#begun.set(check, begun);
    if (begun.bytes < tensor.end - tensor.start) return;
    this.#begun.delete(check);
    if (begun.sum >>> 0 !== check.sum) throw this.#damaged(`${tensor.name}: expected another checksum`);
  }

  #damaged(what: string, cause?: unknown): DamagedCodes {
    return new DamagedCodes(`${this.#codes.name}: ${this.#file}: ${what}`, { cause });
  }
}

/**
 * A sum over lines of four 32-bit words: each word times an odd number for its column, each line times one for its place. It sees
 * every change of a single word, may be taken of pieces in any order, and runs as fast as memory.
 *
 * @param at where the bytes begin in what is summed, a multiple of 16
 */
function checksum(bytes: Uint8Array<ArrayBuffer>, at: number): number {
  const whole = bytes.byteOffset % 4 === 0 && bytes.length % 16 === 0;
  const { buffer, byteOffset, length } = whole ? bytes : padded(bytes);
  const words = new Int32Array(buffer, byteOffset, length / 4);
  let place = at / 8 + 1;
  let sum = 0;
  for (let i = 0; i < words.length; i += 4, place += 2) {
    const rest = Math.imul(words[i + 1]!, 3) + Math.imul(words[i + 2]!, 5) + Math.imul(words[i + 3]!, 7);
    const line = (words[i]! + rest) | 0;
    sum = (sum + Math.imul(line, place)) | 0;
  }
  return sum;
}

function padded(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const lines = new Uint8Array(Math.ceil(bytes.length / 16) * 16);
  lines.set(bytes);
  return lines;
}
