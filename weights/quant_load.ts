import {
  type Activations,
  GROUP,
  type QuantFormat,
  type QuantizedTensor,
  quantLayout,
} from "../src/tensor/quantized.ts";
import { type Shape, sameShape, showShape, sizeOf } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { CHUNK_BYTES, type Checkpoint } from "./checkpoint.ts";
import { FLOAT_BYTES, isFloat } from "./convert.ts";
import type { Pump, Source } from "./pump.ts";
import { type Interleaved, interleave } from "./quant.ts";
import type { StoredTensor } from "./safetensors.ts";

/** What a matrix is for: `table` are the embedding and the head. */
export type MatrixRole = "linear" | "table";

/** The format of each kind of matrix. Without a `table`, numbers become int8, and codes are taken as they are. */
export interface QuantFormats {
  readonly linear: QuantFormat;
  readonly table?: QuantFormat | undefined;
}

/** How matrices of numbers become codes while they are loaded, and what all matrices of codes permit. */
export interface Quantization {
  /** Undefined: numbers stay numbers. */
  readonly formats: QuantFormats | undefined;
  readonly activations: Activations;
  /** The kernel: rounds rows as they are stored, into outputs `first` and on of the matrix. */
  readonly run: (source: Tensor, stored: Source["dtype"], matrix: QuantizedTensor, first: number) => void;
}

/** A stored matrix of codes, and what goes with it. */
export interface StoredMatrix {
  readonly format: QuantFormat;
  readonly codes: StoredTensor;
  readonly scales: StoredTensor;
  readonly offsets: StoredTensor | undefined;
}

/** A stored matrix of numbers that becomes codes: outputs `first` to `first + rows` of `matrix`. */
export interface RoundedPart {
  readonly format: QuantFormat;
  readonly matrix: QuantizedTensor;
  readonly first: number;
  readonly rows: number;
}

/** A quantised matrix to load: parts of it, by outputs, one after another. */
export type MatrixJob =
  | { readonly matrix: QuantizedTensor; readonly sources: readonly Source[]; readonly stored?: undefined }
  | {
      readonly matrix: QuantizedTensor;
      readonly sources: readonly StoredTensor[];
      readonly stored: readonly StoredMatrix[];
    };

/** Names of the tensors that go with the codes `<module>.weight`. */
export function companions(name: string): { scales: string; offsets: string } {
  const module = name.replace(/\.weight$/, "");
  return { scales: `${module}.scales`, offsets: `${module}.biases` };
}

/** Numbers that a checkpoint's tensors stand for: codes count one by one, their scales not at all. */
export function parametersOf({ tensors }: Checkpoint): number {
  let count = 0;
  for (const [name, { dtype, shape }] of tensors) {
    const codes = tensors.get(name.replace(/\.(scales|biases)$/, ".weight"));
    if (codes && codes.name !== name && !isFloat(codes.dtype)) continue;
    count += sizeOf(shape) * (dtype === "U32" ? 8 : 1);
  }
  return count;
}

/**
 * The matrix stored as codes under `name`, or undefined when there is none; a sentence when it is not what it should be.
 *
 * @param shape [O, C], of the numbers the codes stand for
 */
export function findStored({ tensors }: Checkpoint, name: string, shape: Shape): StoredMatrix | string | undefined {
  const names = companions(name);
  const codes = tensors.get(name);
  const scales = tensors.get(names.scales);
  if (!codes || !scales || isFloat(codes.dtype)) return undefined;
  const offsets = tensors.get(names.offsets);
  const [O = 0, C = 0] = shape;
  const isInt8 = codes.dtype === "I8";
  const format = isInt8 ? "int8" : offsets ? "int4-affine" : "int4";
  const expected = isInt8 ? [O, C] : [O, C / 8];
  if (!isInt8 && codes.dtype !== "U32") return `expected codes of type U32 or I8, got ${codes.dtype}`;
  if (C % GROUP !== 0 || !sameShape(codes.shape, expected)) {
    return `expected ${format} codes of shape ${showShape(expected)}, got ${showShape(codes.shape)}`;
  }
  for (const part of [scales, offsets]) {
    if (part && (part.dtype !== "F16" || !sameShape(part.shape, [O, C / GROUP]))) {
      return `${part.name}: expected F16 ${showShape([O, C / GROUP])}, got ${part.dtype} ${showShape(part.shape)}`;
    }
  }
  return { format, codes, scales, offsets };
}

/** Loads quantised matrices in pieces of whole rows, through one buffer on either side. */
export class MatrixPump {
  readonly #pump: Pump;
  readonly #checkpoint: Checkpoint;
  readonly #signal: AbortSignal;
  readonly #quantization: Quantization | undefined;
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  #interleaved: Interleaved | undefined;
  #staging: Tensor | undefined;
  /** Until the GPU has rounded what is in the staging tensor: a write to it before that would need memory of its own. */
  #rounding: Promise<void> = Promise.resolve();

  constructor(pump: Pump, checkpoint: Checkpoint, signal: AbortSignal, quantization: Quantization | undefined) {
    this.#pump = pump;
    this.#checkpoint = checkpoint;
    this.#signal = signal;
    this.#quantization = quantization;
  }

  async run({ matrix, sources, stored }: MatrixJob): Promise<void> {
    let first = 0;
    for (const part of stored ?? []) {
      await this.#copy(part, matrix, first);
      first += part.scales.shape[0]!;
    }
    if (stored) return;
    for (const source of sources) {
      await this.#round(source, matrix, first);
      first += source.shape[0]!;
    }
  }

  /** Resolves when all that was handed to the GPU is rounded. */
  settled(): Promise<void> {
    return this.#rounding;
  }

  /** Frees what loading needed. */
  release(): void {
    if (this.#staging) this.#staging.gpu.release(this.#staging);
    this.#staging = undefined;
  }

  /** Numbers go to the GPU as they are stored, and are rounded there. */
  async #round({ name, dtype }: Source, matrix: QuantizedTensor, start: number): Promise<void> {
    this.#buffer ??= new Uint8Array(CHUNK_BYTES);
    const staging = this.#staging ?? matrix.gpu.empty([CHUNK_BYTES / 4], "u32");
    this.#staging = staging;
    const rowBytes = matrix.shape[1] * FLOAT_BYTES[dtype];
    const chunkBytes = Math.floor(CHUNK_BYTES / rowBytes) * rowBytes;
    let first = start;
    await this.#checkpoint.stream(
      name,
      async (chunk) => {
        await this.#rounding;
        matrix.gpu.write(staging, 0, chunk);
        this.#quantization?.run(staging.rows(0, chunk.length / 4), dtype, matrix, first);
        this.#rounding = matrix.gpu.settled();
        this.#rounding.catch(() => undefined); // thrown to whoever waits next
        first += chunk.length / rowBytes;
        this.#pump.advance(chunk.length);
      },
      { chunkBytes, buffer: this.#buffer, signal: this.#signal },
    );
  }

  /** Codes only change places. */
  async #copy({ format, codes, scales, offsets }: StoredMatrix, matrix: QuantizedTensor, start: number): Promise<void> {
    this.#buffer ??= new Uint8Array(CHUNK_BYTES);
    const [O = 0] = scales.shape;
    const [, C] = matrix.shape;
    const rowBytes = (codes.end - codes.start) / O;
    const step = Math.max(8, Math.floor(CHUNK_BYTES / rowBytes / 8) * 8);
    const layout = quantLayout(format, [step, C]);
    // For the most rows that a piece of any matrix of these rows has.
    if (!this.#interleaved || this.#interleaved.codes.length < layout.blocks * layout.units * 32) {
      this.#interleaved = {
        codes: new Uint32Array(Math.max(CHUNK_BYTES / 2, layout.blocks * layout.units * 32)),
        scales: new Uint32Array(Math.max(CHUNK_BYTES / 4, layout.blocks * layout.words * 8)),
      };
    }
    for (let row = 0; row < O; row += step) {
      const end = Math.min(O, row + step);
      const read = async (part: StoredTensor, into?: Uint8Array<ArrayBuffer>) => {
        const bytes = (part.end - part.start) / O;
        const range = [part.start + row * bytes, part.start + end * bytes] as const;
        const options = { signal: this.#signal, ...(into && { into }) };
        const data = await this.#checkpoint.folder.read(part.file, ...range, options);
        this.#pump.advance(data.length);
        return data;
      };
      const words = await read(codes, this.#buffer.length >= (end - row) * rowBytes ? this.#buffer : undefined);
      const halves = async (part: StoredTensor) => new Uint16Array((await read(part)).buffer);
      const piece = interleave(
        {
          codes: new Uint32Array(words.buffer, words.byteOffset, words.length / 4),
          scales: await halves(scales),
          offsets: offsets && (await halves(offsets)),
        },
        format,
        C,
        this.#interleaved,
      );
      const to = matrix.rows(start + row, start + end);
      await this.#pump.write(to.codes, 0, asBytes(piece.codes));
      await this.#pump.write(to.scales, 0, asBytes(piece.scales));
    }
  }
}

const asBytes = (words: Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
