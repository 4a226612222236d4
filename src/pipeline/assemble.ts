import { quantizeRows } from "../../kernels/quantize.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { isFloat } from "../../weights/convert.ts";
import type { Folder } from "../../weights/folder.ts";
import {
  type CheckpointFormat,
  enhancerModules,
  identify,
  isIgnorable,
  projectorModules,
} from "../../weights/formats.ts";
import { appleNames } from "../../weights/names.ts";
import { type QuantFormats, type Quantization, Weights } from "../../weights/weights.ts";
import { ConfigError, WeightError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Connector } from "../models/connector.ts";
import { connectorConfig } from "../models/connector_config.ts";
import { decoderConfig } from "../models/decoder/config.ts";
import { Decoder } from "../models/decoder/decoder.ts";
import { fastvithdConfig } from "../models/fastvithd/config.ts";
import { FastViTHD } from "../models/fastvithd/tower.ts";
import { type Eye, FastVLMModel } from "../models/fastvlm.ts";
import type { Activations } from "../tensor/quantized.ts";

/** A checkpoint and what it turned out to be. */
export interface Part {
  readonly checkpoint: Checkpoint;
  readonly format: CheckpointFormat;
}

/** Where each part of the model comes from; for a published checkpoint, all three are one. */
export interface Parts {
  readonly language: Part;
  readonly vision: Part | undefined;
  readonly projector: Part | undefined;
}

/** Opens the folders of a model. Parts of one folder are opened once. */
export async function openParts(folders: { language: Folder; vision?: Folder; projector?: Folder }): Promise<Parts> {
  const opened = new Map<Folder, Promise<Part>>();
  const open = (folder: Folder): Promise<Part> => {
    const part = opened.get(folder) ?? openPart(folder);
    opened.set(folder, part);
    return part;
  };
  const language = await open(folders.language);
  const vision = folders.vision ? await open(folders.vision) : language.format.vision ? language : undefined;
  const projector = folders.projector ? await open(folders.projector) : vision;
  return { language, vision, projector };
}

async function openPart(folder: Folder): Promise<Part> {
  const checkpoint = await openCheckpoint(folder);
  return { checkpoint, format: await identify(checkpoint) };
}

/** f16 where the weights are stored in 16 bits and the adapter can, else f32. */
export function defaultDType({ checkpoint }: Part, gpu: Gpu): "f32" | "f16" {
  const isScale = (name: string): boolean => /\.(scales|biases)$/.test(name);
  const stored = [...checkpoint.tensors.values()].filter(({ name, dtype }) => isFloat(dtype) && !isScale(name));
  return gpu.adapter.f16 && stored.some(({ dtype }) => dtype !== "F32") ? "f16" : "f32";
}

/** What is rounded. */
export interface Rounding {
  readonly formats?: QuantFormats | undefined;
  readonly activations?: Activations | undefined;
}

/** A model whose tensors are declared but not yet read. */
export interface Assembled {
  readonly model: FastVLMModel;
  /** One per checkpoint involved. */
  readonly weights: readonly Weights[];
}

/**
 * Declares the whole model: every constructor takes its tensors, which checks names, shapes and types against the headers.
 *
 * @param rounding.formats     makes codes of the language model's matrices. Default: they stay as they are stored
 * @param rounding.activations what matrices of codes permit. Default "float"
 * @throws WeightError, ConfigError when parts are missing or do not fit each other
 */
export function assemble(gpu: Gpu, parts: Parts, dtype: "f32" | "f16", rounding: Rounding = {}): Assembled {
  const cursors = new Map<Part, Weights>();
  const { formats, activations = "float" } = rounding;
  const quantization: Quantization = { formats, activations, run: quantizeRows };
  const cursor = (part: Part): Weights => {
    const known = cursors.get(part) ?? Weights.of(gpu, part.checkpoint, dtype, quantization);
    cursors.set(part, known);
    return known;
  };
  try {
    const decoder = assembleDecoder(parts.language, cursor(parts.language));
    const eye =
      parts.vision && parts.projector && assembleEye(parts.vision, parts.projector, cursor, decoder.config.hiddenSize);
    const whole = new Set([parts.language, parts.vision, parts.projector]).size === 1;
    for (const w of cursors.values()) w.check();
    if (whole || !parts.vision) refuseUnused(parts.language, cursor(parts.language));
    return { model: new FastVLMModel(gpu, decoder, eye, dtype), weights: [...cursors.values()] };
  } catch (error) {
    for (const weights of cursors.values()) weights.release();
    throw error;
  }
}

function assembleDecoder({ checkpoint, format }: Part, w: Weights): Decoder {
  const { language } = format;
  if (!language) {
    throw new ConfigError(`${checkpoint.name}: expected a language model, found a ${format.kind} checkpoint`, {
      hint: "Add --language with a Phi-4, Phi-4-mini or Qwen2 folder.",
    });
  }
  const head = language.head === undefined ? undefined : w.at(language.head);
  return new Decoder(language.prefix === "" ? w : w.at(language.prefix), head, decoderConfig(language.config));
}

/** Only the tower of a FastViTHD checkpoint. */
export function assembleTower({ checkpoint, format }: Part, w: Weights): FastViTHD {
  const { vision } = format;
  if (!vision)
    throw new ConfigError(`${checkpoint.name}: expected a FastViTHD tower, found a ${format.kind} checkpoint`);
  const rename = vision.style === "apple" ? appleNames : (path: string): string => path;
  return new FastViTHD(w.renamed(vision.prefix, rename), fastvithdConfig(format.visionConfig));
}

function assembleEye(vision: Part, projector: Part, cursor: (part: Part) => Weights, hiddenSize: number): Eye {
  const tower = assembleTower(vision, cursor(vision));
  const { format, checkpoint } = projector;
  if (!format.projector) {
    throw new ConfigError(`${checkpoint.name}: expected a projector, found a ${format.kind} checkpoint`, {
      hint: "Add --projector with a folder that has one for this language model.",
    });
  }
  const w = cursor(projector);
  const { modules } = format.projector;
  const enhancer = format.enhancer?.modules ?? [];
  const config = connectorConfig(format.connectorConfig, tower.config.outputChannels, hiddenSize, modules.length);
  checkModules(`the projector of ${checkpoint.name}`, projectorModules(modules, config.depth), modules);
  checkModules(
    `the feature enhancer of ${checkpoint.name}`,
    config.enhancer ? enhancerModules(enhancer) : [],
    enhancer,
  );
  const last = checkpoint.tensors.get(`${modules.at(-1)}.weight`);
  const [outputs] = last?.shape ?? [];
  if (outputs !== hiddenSize) {
    throw new WeightError(
      `the projector of ${checkpoint.name} makes tokens of ${outputs} elements: expected ${hiddenSize}, the language model's width`,
      {
        hint: "Use a projector trained for this language model.",
      },
    );
  }
  const at = (names: readonly string[]): Weights[] => names.map((name) => w.at(name));
  return { tower, connector: new Connector(at(modules), at(enhancer), config) };
}

/** A projector that lacks a layer makes tokens of the right size all the same, which mean nothing to the language model. */
function checkModules(name: string, expected: readonly string[], found: readonly string[]): void {
  const missing = expected.filter((module) => !found.includes(module));
  const foreign = found.filter((module) => !expected.includes(module));
  if (missing.length + foreign.length === 0) return;
  const list = [
    ...missing.map((module) => `${module}.weight is not in the checkpoint`),
    ...foreign.map((module) => `${module}.weight has no place in it`),
  ];
  throw new WeightError(
    `${name}: expected ${expected.length} linear layers, by config.json, got ${found.length}: ${list.join(", ")}`,
    { hint: "config.json and the weights belong to different models, or the download is incomplete." },
  );
}

/** Tensors that nobody asked for mean another architecture than the one that was built. */
function refuseUnused({ checkpoint }: Part, w: Weights): void {
  const unused = w.unused(isIgnorable);
  if (unused.length === 0) return;
  throw new WeightError(
    `${checkpoint.name}: ${unused.length} tensors belong to no part of the model: ${unused.slice(0, 5).join(", ")}${unused.length > 5 ? ", …" : ""}`,
    {
      hint: "config.json and the weights belong to different models.",
    },
  );
}
