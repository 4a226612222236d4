import { argmax } from "../../kernels/argmax.ts";
import { resizeBicubic } from "../../kernels/resize.ts";
import { scaleBytes } from "../../kernels/scale_bytes.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import { sizeOf } from "../tensor/shape.ts";
import { rehearseResize } from "./resize.ts";
import { MAX_BATCH } from "./scheduler.ts";
import { longestPart } from "./sequence.ts";

/** Prompt lengths that pipelines are compiled for: one of each class of rows that prompts fall in; no LongRoPE switch is so early. */
const LENGTHS = [64, 16, 8, 4, 2, 1];
/** GPUs tell more of them apart: a few hundred rows fill some, and a thousand all. */
const GPU_LENGTHS = [1024, 288, ...LENGTHS];

/** Passes that shaders are timed for: decoding, a picture with a question, and answers decoded together. */
export const TUNED_LENGTHS = [1, 288, 2, 4, 8, 16, 32];

/**
 * Asks for every pipeline that answering takes, so that none is compiled during the first answer.
 *
 * @param imageSize  side of the square image in pixels
 * @param lengths    numbers of tokens in a pass of the language model
 */
export async function rehearse(
  model: FastVLMModel,
  imageSize: number,
  lengths: readonly number[] = model.gpu.adapter.software ? LENGTHS : GPU_LENGTHS,
): Promise<void> {
  const { gpu, decoder } = model;
  const longest = Math.min(longestPart(model), decoder.config.maxPositions);
  const passes = [...new Set(lengths.map((tokens) => Math.min(tokens, longest)))];
  for (const tokens of passes) decoder.rope.table(tokens); // uploads, which a rehearsal cannot
  await gpu.rehearse(() => {
    for (const tokens of passes) {
      const x = decoder.embed(gpu.empty([tokens], "u32"));
      const h = decoder.forward(x, decoder.cache(tokens, model.dtype));
      if (tokens <= MAX_BATCH) argmax(decoder.logits(h), tokens); // answers decoded together
      argmax(decoder.logits(decoder.last(x, decoder.cache(tokens, model.dtype))), 1); // a prompt
    }
    if (model.eye) {
      const shape = [1, imageSize, imageSize, 3];
      model.encode(scaleBytes(gpu.empty([sizeOf(shape) / 4], "u32"), shape, model.dtype));
      if (!gpu.adapter.software) rehearseResize(gpu);
    }
    return undefined;
  });
}

/** Of the prompt that warms up, in tokens; steps after it; how often; and after how many milliseconds that is enough. */
const WARM_TOKENS = 288;
const WARM_STEPS = 4;
const WARM_ROUNDS = 2;
const WARM_MS = 200;

/**
 * Sees a picture and answers a prompt, whatever the picture and the weights hold: the first question finds the memory it needs, code
 * that has run before, and a GPU that is awake. Where the GPU is the CPU that would take seconds, and nothing is done.
 *
 * @param imageSize side of the square image in pixels
 */
export async function warmUp(model: FastVLMModel, imageSize: number, signal?: AbortSignal): Promise<void> {
  const { gpu, decoder } = model;
  if (gpu.adapter.software || gpu.profiler) return;
  const tokens = Math.min(WARM_TOKENS, longestPart(model), decoder.config.maxPositions - WARM_STEPS);
  const cache = decoder.cache(tokens + WARM_STEPS, model.dtype);
  const ids = gpu.upload([tokens], "u32", new Uint32Array(tokens));
  decoder.rope.table(tokens + WARM_STEPS);
  const started = performance.now();
  try {
    for (let round = 0; round < WARM_ROUNDS && performance.now() - started < WARM_MS; round++) {
      signal?.throwIfAborted();
      if (model.eye) see(model, imageSize);
      for (const input of [ids, ...Array.from({ length: WARM_STEPS }, () => ids.rows(0, 1))]) {
        gpu.flush(); // as answers do
        gpu.scope(() => {
          argmax(decoder.logits(decoder.last(decoder.embed(input), cache)), 1);
          return undefined;
        });
      }
      await gpu.settled();
      cache.length = 0;
    }
  } finally {
    cache.free();
    gpu.release(ids);
  }
}

/** Resizes and encodes a picture that holds nothing in particular. */
function see(model: FastVLMModel, side: number): void {
  const { gpu, dtype } = model;
  gpu.scope(() => {
    const size = { width: side, height: side };
    const words = resizeBicubic(gpu.empty([12], "u32"), { source: { width: 4, height: 4 }, size });
    model.encode(scaleBytes(words, [1, side, side, 3], dtype));
    return undefined;
  });
}
