import { argmax } from "../../kernels/argmax.ts";
import { AdapterError, InputError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { checkImageSize } from "../image/preprocess.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import { assemble, defaultDType, openParts, type Parts } from "./assemble.ts";
import { openFolders } from "./folders.ts";
import { platform } from "./platform.ts";
import { Scheduler } from "./scheduler.ts";
import { loadText, type TextParts } from "./text.ts";
import type { Composition, LoadOptions, Source } from "./types.ts";
import { Vision } from "./vision.ts";

/** Prompt length that pipelines are compiled for: they serve any length of at least 8, and no LongRoPE switch is so early. */
const REHEARSED_TOKENS = 16;

const IMAGE_CACHE_BYTES = 256 * 2 ** 20;

/** Everything that answering takes. */
export interface Loaded extends TextParts {
  readonly gpu: Gpu;
  readonly model: FastVLMModel;
  readonly vision: Vision;
  readonly scheduler: Scheduler;
  readonly imageSize: number;
  readonly resize: "pad" | "crop";
  readonly orientation: boolean;
  readonly loadMs: number;
}

/** Opens the GPU and the checkpoint, and puts the model on it, ready for its first question. */
export async function loadModel(source: Source | Composition, options: LoadOptions): Promise<Loaded> {
  const started = performance.now();
  const parts = await openParts(await openFolders(source));
  const text = await loadText(parts.language);
  const format = (parts.vision ?? parts.language).format;
  const imageSize = checkImageSize(options.imageSize ?? format.imageSize);
  const { imageCacheBytes = IMAGE_CACHE_BYTES } = options;
  if (!(imageCacheBytes >= 0)) throw new InputError(`imageCacheBytes: expected 0 or more, got ${imageCacheBytes}`);
  options.signal?.throwIfAborted();
  const gpu = await platform().openGpu({ profile: options.profile === true });
  try {
    const model = await placeModel(gpu, parts, imageSize, options);
    return {
      gpu,
      model,
      ...text,
      vision: new Vision(model, imageCacheBytes),
      scheduler: new Scheduler(model),
      imageSize,
      resize: options.resize ?? (format.padToSquare ? "pad" : "crop"),
      orientation: options.orientation !== false,
      loadMs: performance.now() - started,
    };
  } catch (error) {
    gpu.close();
    throw error;
  }
}

async function placeModel(gpu: Gpu, parts: Parts, imageSize: number, options: LoadOptions): Promise<FastVLMModel> {
  const dtype = options.dtype ?? defaultDType(parts.language, gpu);
  if (dtype === "f16" && !gpu.adapter.f16) {
    throw new AdapterError(`${gpu.adapter.description}: f16 was asked for, and this adapter has none`, {
      hint: "Use --dtype f32.",
    });
  }
  const { model, weights } = assemble(gpu, parts, dtype, options.quantize);
  const { signal, onProgress } = options;
  // Pipelines compile while weights arrive.
  const warm = rehearse(model, imageSize);
  const loads = (async () => {
    for (const w of weights) await w.load({ signal, onProgress });
  })();
  await Promise.all([warm, loads]);
  return model;
}

/** Asks for every pipeline that answering takes, so that none is compiled during the first answer. */
async function rehearse(model: FastVLMModel, imageSize: number): Promise<void> {
  const { gpu, decoder } = model;
  decoder.rope.table(REHEARSED_TOKENS + 1);
  await gpu.rehearse(() => {
    if (model.eye) model.encode(gpu.empty([1, imageSize, imageSize, 3], model.dtype));
    const cache = decoder.cache(REHEARSED_TOKENS + 1, model.dtype);
    for (const tokens of [REHEARSED_TOKENS, 1]) {
      const h = decoder.forward(decoder.embed(gpu.empty([tokens], "u32")), cache);
      argmax(decoder.logits(h.rows(0, 1)), 1);
    }
    return undefined;
  });
}
