// What this adapter reaches on the two plainest tasks there are. A stage cannot be faster than its operations at the first rate
// and its bytes at the second.
import { linear } from "../../kernels/linear.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { QuantizedTensor } from "../../src/tensor/quantized.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import type { Work } from "./counts.mts";
import { memoryRate } from "./memory_rate.mts";

export interface Ceilings {
  /** Of a large matrix product by the fastest of this engine's own kernels. */
  readonly flopsPerSecond: number;
  /** Of a large copy or read on the GPU, bytes read and bytes written. */
  readonly bytesPerSecond: number;
}

const ROUNDS = 5;

/** Measures both; a few seconds. */
export async function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  const side = gpu.adapter.software ? 1024 : 4096;
  const product = Math.min(...(await products(gpu, side)));
  const bytesPerSecond = await memoryRate(gpu, (encode) => best(gpu, encode));
  return { flopsPerSecond: (2 * side ** 3) / product, bytesPerSecond };
}

/** Seconds of a product of square matrices: the tower's, and the language model's with numbers and with codes. */
async function products(gpu: Gpu, side: number): Promise<number[]> {
  const half = gpu.adapter.f16 ? "f16" : "f32";
  const seconds: number[] = [];
  const codes = QuantizedTensor.empty(gpu, "int4", [side, side]);
  const numbers = gpu.empty([side, side], half);
  clear(gpu, numbers);
  for (const [dtype, weight] of [[half, numbers] as const, ["f32", numbers] as const, ["f32", codes] as const]) {
    const x = gpu.empty([side, side], dtype);
    clear(gpu, x);
    seconds.push(await best(gpu, () => gpu.scope(() => void linear(x, weight))));
    gpu.release(x);
  }
  for (const tensor of [numbers, codes.codes, codes.scales]) gpu.release(tensor);
  return seconds;
}

/** Fresh memory may hold anything, and numbers such as NaN or denormals are slow on some adapters. */
function clear(gpu: Gpu, tensor: Tensor): void {
  const halves = new Uint16Array(tensor.size).fill(tensor.dtype === "f16" ? 0x3400 : 0);
  gpu.write(tensor, 0, new Uint8Array(tensor.dtype === "f16" ? halves.buffer : new Float32Array(tensor.size).buffer));
}

/** Seconds of the fastest of a few rounds, each long enough that the wait for the GPU does not count. */
async function best(gpu: Gpu, encode: () => void): Promise<number> {
  encode();
  await gpu.settled();
  let repeats = 1;
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    for (let i = 0; i < repeats; i++) encode();
    await gpu.settled();
    const seconds = (performance.now() - started) / 1000;
    least = Math.min(least, seconds / repeats);
    repeats = Math.min(64, Math.max(repeats, Math.ceil(0.05 / least)));
  }
  return least;
}

/** Milliseconds below which no implementation on this adapter gets, as far as the two ceilings tell. */
export const floorMs = ({ flops, bytes }: Work, { flopsPerSecond, bytesPerSecond }: Ceilings): number =>
  1000 * Math.max(flops / flopsPerSecond, bytes / bytesPerSecond);
