import { argmax } from "../../kernels/argmax.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";

/** Prompt lengths that pipelines are compiled for: 16 serves any of at least 8, and no LongRoPE switch is so early. */
const LENGTHS = [16, 1];

/**
 * Asks for every pipeline that answering takes, so that none is compiled during the first answer.
 *
 * @param imageSize  side of the square image in pixels
 * @param lengths    numbers of tokens in a pass of the language model
 */
export async function rehearse(model: FastVLMModel, imageSize: number, lengths = LENGTHS): Promise<void> {
  const { gpu, decoder } = model;
  const longest = Math.max(...lengths) + 1;
  decoder.rope.table(longest);
  await gpu.rehearse(() => {
    const cache = decoder.cache(longest, model.dtype);
    for (const tokens of lengths) {
      const h = decoder.forward(decoder.embed(gpu.empty([tokens], "u32")), cache);
      argmax(decoder.logits(h.rows(0, 1)), 1);
    }
    if (model.eye) model.encode(gpu.empty([1, imageSize, imageSize, 3], model.dtype));
    return undefined;
  });
}
