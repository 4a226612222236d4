import { DamagedCodes } from "../../weights/code_cache.ts";
import type { QuantFormats } from "../../weights/weights.ts";
import { unlessAborted } from "../abort.ts";
import { AdapterError, InputError } from "../errors.ts";
import { nameOf } from "../gpu/device.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { checkImageSize } from "../image/preprocess.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import { QUANT_FORMATS } from "../tensor/quantized.ts";
import { type Assembled, assemble, defaultDType, openParts, type Parts } from "./assemble.ts";
import { CodeCache, type Keeping } from "./code_cache.ts";
import { openFolders } from "./folders.ts";
import { platform } from "./platform.ts";
import { rehearse, TUNED_LENGTHS, warmUp } from "./rehearse.ts";
import { Scheduler } from "./scheduler.ts";
import { loadText, type TextParts } from "./text.ts";
import { Tuning } from "./tuning.ts";
import type { Composition, LoadOptions, Source } from "./types.ts";
import { Vision } from "./vision.ts";

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
  /** Codes on their way into the cache. */
  readonly keeping: Keeping | undefined;
}

/** Opens the GPU and the checkpoint, and puts the model on it, ready for its first question. */
export async function loadModel(source: Source | Composition, options: LoadOptions): Promise<Loaded> {
  const loading = load(source, options);
  try {
    return await unlessAborted(options.signal, loading);
  } catch (error) {
    // Shaders that are compiling cannot be stopped, and need not be waited for.
    void loading.then(({ gpu }) => gpu.close()).catch(() => undefined);
    throw error;
  }
}

async function load(source: Source | Composition, options: LoadOptions): Promise<Loaded> {
  const started = performance.now();
  checkNames(options);
  const { imageCacheBytes = IMAGE_CACHE_BYTES } = options;
  if (!(imageCacheBytes >= 0)) throw new InputError(`imageCacheBytes: expected 0 or more, got ${imageCacheBytes}`);
  if (options.imageSize !== undefined) checkImageSize(options.imageSize);
  const formats = formatsOf(options);
  options.signal?.throwIfAborted();
  const { gpu, parts, text } = await open(source, options);
  try {
    const format = (parts.vision ?? parts.language).format;
    const imageSize = checkImageSize(options.imageSize ?? format.imageSize);
    const dtype = checkDType(gpu, options.dtype ?? defaultDType(parts.language, gpu));
    const store = options.autotune === false ? undefined : platform().tuningStore;
    const tuning = store && (await Tuning.open(gpu, store));
    const { model, keeping } = await placeModel(gpu, parts, imageSize, { ...options, dtype, formats });
    warnOfHead(model, parts, options.onWarning);
    const wasTuned = await tuning?.run(() => rehearse(model, imageSize, TUNED_LENGTHS), options.signal);
    if (wasTuned) await rehearse(model, imageSize);
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
      keeping,
    };
  } catch (error) {
    gpu.close();
    throw error;
  }
}

/** Opens the GPU and the checkpoint side by side; where there is no GPU, nothing more is read. */
async function open(source: Source | Composition, { profile = false, signal }: LoadOptions) {
  const stop = new AbortController();
  const stopped = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const folders = await openFolders(source, stopped); // a wrong path is told before all else
  const opening = platform().openGpu({ profile });
  const reading = (async () => {
    const parts = await openParts(folders);
    return { parts, text: await loadText(parts.language) };
  })();
  try {
    const [gpu, read] = await Promise.all([opening, reading]);
    return { gpu, ...read };
  } catch (error) {
    stop.abort();
    void opening.then((gpu) => gpu.close()).catch(() => undefined);
    throw error;
  }
}

/** Published configurations are wrong about this, either way: no reason to refuse one, nor to be silent. */
function warnOfHead({ decoder }: FastVLMModel, { language }: Parts, onWarning: LoadOptions["onWarning"]): void {
  if (decoder.config.tied !== false || language.format.language?.head !== undefined) return;
  (onWarning ?? console.warn)(
    `${language.checkpoint.name}: config.json has tie_word_embeddings: false, and lm_head.weight is not in the checkpoint: ` +
      "the embedding is the output head",
  );
}

function checkDType(gpu: Gpu, dtype: "f32" | "f16"): "f32" | "f16" {
  if (dtype === "f32" || gpu.adapter.f16) return dtype;
  throw new AdapterError(`${nameOf(gpu.adapter)}: f16 was asked for, and this adapter has none`, {
    hint: "Use --dtype f32.",
  });
}

/** What the language model's matrices become; undefined when they stay as they are stored. */
function formatsOf({ quantize, embeddings }: LoadOptions): QuantFormats | undefined {
  if (quantize) return { linear: quantize, table: embeddings };
  if (embeddings === undefined) return undefined;
  throw new InputError(`embeddings: ${embeddings} was asked for without quantize`, {
    hint: "Say what the other matrices become, as in --quantize int4 --embeddings int4.",
  });
}

function checkNames({ dtype, resize, quantize, embeddings, activations }: LoadOptions): void {
  checkName("dtype", dtype, ["f32", "f16"]);
  checkName("resize", resize, ["pad", "crop"]);
  checkName("quantize", quantize, QUANT_FORMATS);
  checkName("embeddings", embeddings, QUANT_FORMATS);
  checkName("activations", activations, ["float", "int8"]);
}

function checkName(option: string, value: string | undefined, names: readonly string[]): void {
  if (value === undefined || names.includes(value)) return;
  throw new InputError(`${option}: expected ${names.join(", ")}, got ${value}`);
}

type Placing = LoadOptions & { readonly dtype: "f32" | "f16"; readonly formats: QuantFormats | undefined };

/** Loads kept codes where there are some; else everything as it is stored, and keeps the codes that it became. */
async function placeModel(
  gpu: Gpu,
  parts: Parts,
  imageSize: number,
  options: Placing,
): Promise<{ model: FastVLMModel; keeping?: Keeping | undefined }> {
  const { formats, cache = true, onWarning = console.warn } = options;
  const store = cache ? platform().codeStore : undefined;
  let codes = formats && store && (await CodeCache.find(parts, formats, store, onWarning));
  if (codes?.hit) {
    try {
      return await place(gpu, codes.parts, imageSize, options);
    } catch (error) {
      if (!(error instanceof DamagedCodes)) throw error;
      codes = await codes.discard(error, onWarning);
    }
  }
  const { model, weights } = await place(gpu, parts, imageSize, options);
  return { model, keeping: codes?.keep(weights) };
}

async function place(gpu: Gpu, parts: Parts, imageSize: number, options: Placing): Promise<Assembled> {
  const assembled = assemble(gpu, parts, options.dtype, options);
  const { signal, onProgress, onWarning = console.warn } = options;
  const stop = new AbortController();
  const stopped = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  // Pipelines compile, and run once, while weights arrive.
  const warm = rehearse(assembled.model, imageSize).then(() => warmUp(assembled.model, imageSize, stopped));
  const loads = (async () => {
    for (const w of assembled.weights) await w.load({ signal, onProgress, onWarning });
  })();
  try {
    await Promise.all([warm, loads]);
    return assembled;
  } catch (error) {
    stop.abort();
    // The weights are gone: nothing may use them any more, and what came of using them is nobody else's failure.
    await warm.catch(() => undefined);
    await gpu.settled().catch(() => undefined);
    for (const w of assembled.weights) w.release();
    throw error;
  }
}
