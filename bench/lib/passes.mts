// Single passes through parts of a model, from the first dispatch until the GPU is done. Milliseconds.
import { argmax } from "../../kernels/argmax.ts";
import type { KvCache } from "../../src/models/decoder/kv_cache.ts";
import type { FastVLMModel } from "../../src/models/fastvlm.ts";
import { BYTES, type Tensor } from "../../src/tensor/tensor.ts";

/** Prompts are read in parts of at most this many tokens, as the library reads them. */
const MAX_PART = 1024;
const PART_STEP = 64;

/** Tokens of a prompt that are read at once: the widest activation, gate and up in f32, must be bindable. */
export function partOf({ gpu, decoder }: FastVLMModel): number {
  const rows = gpu.maxBindingBytes / (2 * decoder.config.intermediateSize * BYTES.f32);
  return Math.max(PART_STEP, Math.min(MAX_PART, Math.floor(rows / PART_STEP) * PART_STEP));
}

/** Embeddings of `tokens` made-up tokens, f32 [tokens, D]; the caller releases them. */
export function prompt({ gpu, decoder }: FastVLMModel, tokens: number): Tensor {
  const ids = gpu.upload(
    [tokens],
    "u32",
    Uint32Array.from({ length: tokens }, (_, i) => (i * 7919) % 400),
  );
  const x = gpu.scope(() => gpu.keep(decoder.embed(ids)));
  gpu.release(ids);
  return x;
}

/** The image at `size` × `size` pixels through tower and connector. */
export async function seeMs(model: FastVLMModel, size: number): Promise<number> {
  const { gpu, dtype } = model;
  const pixels = gpu.upload([1, size, size, 3], dtype, noise(3 * size ** 2, dtype));
  await gpu.settled();
  const started = performance.now();
  gpu.scope(() => void model.encode(pixels));
  await gpu.settled();
  const ms = performance.now() - started;
  gpu.release(pixels);
  return ms;
}

/** Reads the embeddings [T, D] into the empty cache and chooses the next token. */
export async function prefillMs(model: FastVLMModel, cache: KvCache, x: Tensor): Promise<number> {
  const { gpu, decoder } = model;
  const { T } = x.dims("T D");
  const part = partOf(model);
  cache.length = 0;
  cache.reserve(T);
  decoder.rope.table(T);
  await gpu.settled();
  const started = performance.now();
  const token = gpu.scope(() => {
    let chosen: Tensor | undefined;
    for (let from = 0; from < T; from += part) {
      chosen = gpu.scope(() => {
        const last = decoder.last(x.rows(from, Math.min(T, from + part)), cache, T);
        return from + part < T ? undefined : argmax(decoder.logits(last), decoder.config.vocabSize);
      });
    }
    return gpu.keep(chosen!);
  });
  await gpu.readU32(token);
  const ms = performance.now() - started;
  gpu.release(token);
  return ms;
}

/** Steps that are submitted before the first is waited for, as answers run ahead; where the GPU is the CPU, nothing is won by it. */
export const STEPS = 16;

/** One token of several after `past` others. What the cache holds does not matter to the time; it is not read before. */
export async function stepMs(model: FastVLMModel, cache: KvCache, past: number, x: Tensor): Promise<number> {
  const { gpu, decoder } = model;
  const steps = gpu.adapter.software ? 1 : STEPS;
  cache.reserve(past + steps);
  cache.length = past;
  for (const tokens of [past + 1, past + steps]) decoder.rope.table(tokens); // LongRoPE may have two
  await gpu.settled();
  const started = performance.now();
  for (let i = 0; i < steps; i++) {
    gpu.scope(() => void argmax(decoder.logits(decoder.forward(x, cache)), decoder.config.vocabSize));
    gpu.flush();
  }
  await gpu.settled();
  return (performance.now() - started) / steps;
}

/** Numbers between 0 and 1. */
export function noise(size: number, dtype: "f32" | "f16"): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  const array = dtype === "f16" ? new Uint16Array(size) : new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const step = (i * 7919) % 1021;
    array[i] = dtype === "f16" ? 0x3000 + step : step / 1021; // 0x3000 is 0.125, 0x33ff just below 0.25
  }
  return array;
}
