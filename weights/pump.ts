import { WeightError } from "../src/errors.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { sizeOf } from "../src/tensor/shape.ts";
import { BYTES, type Tensor } from "../src/tensor/tensor.ts";
import { CHUNK_BYTES, type Checkpoint } from "./checkpoint.ts";
import { Converter, type FloatDType, roundToHalf, toFloat32 } from "./convert.ts";
import type { StoredTensor } from "./safetensors.ts";

/** Element types weights can have on the GPU. */
export type Precision = "f32" | "f16";

/** Elements of a computed tensor from whole stored tensors, in the order they were named. */
export type Compute = (sources: readonly Float32Array<ArrayBuffer>[]) => ArrayLike<number>;

/** A stored tensor of floating-point numbers. */
export type Source = StoredTensor & { readonly dtype: FloatDType };

/** What `load` reads into `to`: tensors as they are, one after another, or what `compute` makes of them. */
export interface Job {
  readonly to: Tensor;
  readonly sources: readonly Source[];
  readonly compute: Compute | undefined;
}

/** Written but not yet taken by the GPU at most; the driver keeps a copy of every write until then. */
const MAX_PENDING_BYTES = 32 * 2 ** 20;

/** Moves data from the checkpoint to the GPU, in pieces and through one buffer. */
export class Pump {
  readonly #gpu: Gpu;
  readonly #checkpoint: Checkpoint;
  readonly #signal: AbortSignal;
  readonly #onArrival: (bytes: number) => void;
  readonly #converter = new Converter();
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  #unsettled = 0;
  #clampedComputed = 0;

  constructor(gpu: Gpu, checkpoint: Checkpoint, signal: AbortSignal, onArrival: (bytes: number) => void) {
    this.#gpu = gpu;
    this.#checkpoint = checkpoint;
    this.#signal = signal;
    this.#onArrival = onArrival;
  }

  get clamped(): number {
    return this.#converter.clamped + this.#clampedComputed;
  }

  async run({ to, sources, compute }: Job): Promise<void> {
    const width = BYTES[to.dtype];
    // GPU writes start and end at multiples of 4 bytes; a part of an odd number of halves breaks that for the next.
    const aligned = sources.slice(0, -1).every(({ shape }) => (sizeOf(shape) * width) % 4 === 0);
    if (compute || !aligned) return this.#compute(to, sources, compute ?? joinArrays);
    let offset = 0;
    for (const source of sources) {
      await this.#stream(source, to, offset);
      offset += sizeOf(source.shape) * width;
    }
  }

  async #stream({ name, dtype }: Source, to: Tensor, offset: number): Promise<void> {
    this.#buffer ??= new Uint8Array(CHUNK_BYTES);
    let at = offset;
    const options = { buffer: this.#buffer, signal: this.#signal };
    await this.#checkpoint.stream(
      name,
      async (chunk) => {
        const bytes = this.#converter.convert(chunk, dtype, to.dtype as Precision);
        await this.write(to, at, bytes);
        at += bytes.length;
        this.advance(chunk.length);
      },
      options,
    );
  }

  async #compute(to: Tensor, sources: readonly Source[], compute: Compute): Promise<void> {
    const arrays: Float32Array<ArrayBuffer>[] = [];
    for (const { file, start, end, dtype } of sources) {
      arrays.push(toFloat32(await this.#checkpoint.folder.read(file, start, end, { signal: this.#signal }), dtype));
      this.advance(end - start);
    }
    const elements = compute(arrays);
    if (elements.length !== to.size) {
      const names = sources.map(({ name }) => name).join(", ");
      throw new WeightError(`${names}: expected ${to.size} computed elements, got ${elements.length}`);
    }
    const single = elements instanceof Float32Array ? elements : Float32Array.from(elements);
    if (to.dtype === "f32")
      return this.write(to, 0, new Uint8Array(single.buffer as ArrayBuffer, single.byteOffset, to.bytes));
    const halves = new Uint16Array(to.size);
    this.#clampedComputed += roundToHalf(new Uint32Array(single.buffer, single.byteOffset, to.size), halves);
    return this.write(to, 0, new Uint8Array(halves.buffer));
  }

  /** Hands bytes to the GPU; waits when it falls behind. */
  async write(to: Tensor, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#gpu.write(to, offset, bytes.length % 4 === 0 ? bytes : padded(bytes));
    this.#unsettled += bytes.length;
    if (this.#unsettled < MAX_PENDING_BYTES) return;
    await this.#gpu.settled();
    this.#unsettled = 0;
  }

  /** Counts bytes that were read; throws when aborted. */
  advance(bytes: number): void {
    this.#signal.throwIfAborted();
    this.#onArrival(bytes);
  }
}

const joinArrays: Compute = (arrays) => {
  const joined = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const array of arrays) {
    joined.set(array, offset);
    offset += array.length;
  }
  return joined;
};

/** Blocks of GPU memory are larger than their tensors by enough for these last two bytes. */
function padded(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const words = new Uint8Array(bytes.length + 2);
  words.set(bytes);
  return words;
}
