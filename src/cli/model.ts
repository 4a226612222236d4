import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import pc from "picocolors";
import { InputError } from "../errors.ts";
import { FastVLM } from "../node.ts";
import type { Composition, LoadOptions, Source } from "../pipeline/types.ts";
import { QUANT_FORMATS } from "../tensor/quantized.ts";
import { choice, integer } from "./args.ts";
import { loadProgress, status } from "./progress.ts";

/** Flags of every command that loads a model. */
export const MODEL_FLAGS = {
  model: { type: "string" },
  vision: { type: "string" },
  projector: { type: "string" },
  language: { type: "string" },
  dtype: { type: "string" },
  quantize: { type: "string" },
  embeddings: { type: "string" },
  activations: { type: "string" },
  "no-cache": { type: "boolean" },
  "no-autotune": { type: "boolean" },
  resize: { type: "string" },
  "image-size": { type: "string" },
  "no-orientation": { type: "boolean" },
} as const;

export const MODEL_USAGE = `  --model DIR          checkpoint folder or address; default: the tiny one that comes with the program
  --vision DIR         with --language, and --projector: put a model together from parts
  --dtype f32|f16      precision; default: as stored, where the adapter can
  --quantize FORMAT    int4, int4-affine or int8: round the language model while it loads
  --embeddings FORMAT  what --quantize makes of the embedding and the output head; default int8
  --activations int8   with rounded weights, let prompts round what these are multiplied with, where the GPU is faster so
  --no-cache           do not keep what --quantize made for the next start, nor use what was kept
  --no-autotune        do not time shaders on this GPU, nor use what was timed before
  --resize pad|crop    how an image becomes square; default: the checkpoint's way
  --image-size N       side of that square in pixels, a multiple of 64
  --no-orientation     do not turn photos upright by their EXIF tag`;

export interface ModelValues {
  readonly model?: string;
  readonly vision?: string;
  readonly projector?: string;
  readonly language?: string;
  readonly dtype?: string;
  readonly quantize?: string;
  readonly embeddings?: string;
  readonly activations?: string;
  readonly "no-cache"?: boolean;
  readonly "no-autotune"?: boolean;
  readonly resize?: string;
  readonly "image-size"?: string;
  readonly "no-orientation"?: boolean;
}

/** The checkpoint that comes with this package: beside the sources in a checkout, beside the code in the published package. */
const EMBEDDED = new URL("../../weights/fastvlm-tiny/", import.meta.url);

/**
 * Folder of the checkpoint that is used when none is named.
 *
 * @throws InputError when it is not there
 */
export function defaultModel(folder: URL = EMBEDDED): string {
  if (existsSync(new URL("config.json", folder))) return fileURLToPath(folder);
  throw new InputError("--model: expected a checkpoint folder, got none, and no checkpoint came with this program", {
    hint: "For example a download of apple/FastVLM-0.5B: --model ./FastVLM-0.5B",
  });
}

/** The checkpoint, or the parts of several, that the flags name. */
export function sourceOf({ model, vision, projector, language }: ModelValues): Source | Composition {
  if (vision === undefined && projector === undefined && language === undefined) return model ?? defaultModel();
  if (model !== undefined)
    throw new InputError("--model: expected either --model or --vision with --language, got both");
  if (vision === undefined || language === undefined) {
    throw new InputError(
      `--${vision === undefined ? "vision" : "language"}: expected a folder; a composed model needs --vision and --language`,
    );
  }
  return { vision, language, ...(projector !== undefined && { projector }) };
}

/** Loads the model that the flags name, with a bar on a terminal. */
export async function loadFrom(values: ModelValues, options: Pick<LoadOptions, "profile"> = {}): Promise<FastVLM> {
  const source = sourceOf(values);
  const checked = {
    dtype: choice("dtype", values.dtype, "f32", "f16"),
    quantize: choice("quantize", values.quantize, ...QUANT_FORMATS),
    embeddings: choice("embeddings", values.embeddings, ...QUANT_FORMATS),
    activations: choice("activations", values.activations, "float", "int8"),
    cache: !values["no-cache"],
    autotune: !values["no-autotune"],
    resize: choice("resize", values.resize, "pad", "crop"),
    imageSize: integer("image-size", values["image-size"], 64),
    orientation: !values["no-orientation"],
  };
  const onWarning = (message: string): boolean => process.stderr.write(`${pc.yellow("warning:")} ${message}\n`);
  return FastVLM.load(source, { ...checked, ...options, onProgress: loadProgress(process.stderr), onWarning });
}

/** Waits, at the end, for codes that are still being kept, and says so. */
export async function finish(vlm: FastVLM): Promise<void> {
  const waiting = status(process.stderr);
  waiting.say("keeping the rounded weights for the next start; Ctrl-C leaves without them");
  await vlm.whenKept();
  waiting.clear();
}
