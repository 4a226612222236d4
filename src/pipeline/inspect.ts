import type { CheckpointKind } from "../../weights/formats.ts";
import { parametersOf } from "../../weights/quant_load.ts";
import { Gpu } from "../gpu/gpu.ts";
import type { DecoderConfig } from "../models/decoder/config.ts";
import type { FastViTHDConfig } from "../models/fastvithd/config.ts";
import { assemble, openParts, type Parts } from "./assemble.ts";
import { openFolders } from "./folders.ts";
import type { Composition, Source } from "./types.ts";

/** Tokens of text that the memory estimate allows for beside one image. */
const CONTEXT_TOKENS = 2048;

/** What a checkpoint is, read from its headers alone. */
export interface Inspection {
  readonly name: string;
  readonly kind: CheckpointKind;
  readonly parameters: number;
  /** Bytes of weights on disk, all and by stored type. */
  readonly bytes: number;
  readonly dtypes: Readonly<Record<string, number>>;
  readonly vision:
    | (FastViTHDConfig & { imageSize: number; tokensPerImage: number; resize: "pad" | "crop" })
    | undefined;
  readonly language: DecoderConfig;
  /** GPU bytes at each precision: weights, activations at their peak, and KV cache of one image and 2048 tokens. */
  readonly memory: Readonly<Record<"f16" | "f32", { weights: number; activations: number; cache: number }>>;
}

/** Describes a checkpoint; every name and shape is checked, no weight is read, no GPU is needed. */
export async function inspectCheckpoint(source: Source | Composition): Promise<Inspection> {
  const parts = await openParts(await openFolders(source));
  const whole = [...new Set([parts.language, parts.vision, parts.projector])].filter((part) => part !== undefined);
  const dtypes: Record<string, number> = {};
  let parameters = 0;
  let bytes = 0;
  for (const { checkpoint } of whole) {
    for (const { dtype, start, end } of checkpoint.tensors.values()) {
      dtypes[dtype] = (dtypes[dtype] ?? 0) + end - start;
      bytes += end - start;
    }
    parameters += parametersOf(checkpoint);
  }
  const { model } = assemble(Gpu.dry(), parts, "f32");
  const { imageSize, padToSquare } = (parts.vision ?? parts.language).format;
  const vision = model.eye && {
    ...model.eye.tower.config,
    imageSize,
    tokensPerImage: model.imageTokens(imageSize, imageSize),
    resize: padToSquare ? ("pad" as const) : ("crop" as const),
  };
  const language = model.decoder.config;
  const memory = { f16: await memoryAt(parts, "f16", imageSize), f32: await memoryAt(parts, "f32", imageSize) };
  return {
    name: parts.language.checkpoint.folder.name,
    kind: parts.language.format.kind,
    parameters,
    bytes,
    dtypes,
    vision,
    language,
    memory,
  };
}

async function memoryAt(
  parts: Parts,
  dtype: "f16" | "f32",
  imageSize: number,
): Promise<{ weights: number; activations: number; cache: number }> {
  const gpu = Gpu.dry();
  const { model } = assemble(gpu, parts, dtype);
  const weights = gpu.memory.used;
  const { kvHeads, headDim, layers, maxPositions } = model.decoder.config;
  const imageTokens = model.eye ? model.imageTokens(imageSize, imageSize) : 0;
  const tokens = Math.min(maxPositions, imageTokens + CONTEXT_TOKENS);
  const cache = 2 * layers * tokens * kvHeads * headDim * (dtype === "f16" ? 2 : 4);
  const activations = model.eye
    ? await gpu.rehearse(() => model.encode(gpu.empty([1, imageSize, imageSize, 3], dtype)))
    : 0;
  return { weights, activations, cache };
}
