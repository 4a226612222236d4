import { argmax } from "../../kernels/argmax.ts";
import { scaleBytes } from "../../kernels/scale_bytes.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import { sizeOf } from "../tensor/shape.ts";
import { rehearseResize } from "./resize.ts";
import { MAX_BATCH } from "./scheduler.ts";

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
  const passes = lengths.filter((tokens) => tokens <= decoder.config.maxPositions);
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
