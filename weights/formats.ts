import { CheckpointError, ConfigError } from "../src/errors.ts";
import type { Checkpoint, JsonObject } from "./checkpoint.ts";
import { Settings } from "./settings.ts";

/** Families of checkpoint folders this library reads. */
export type CheckpointKind =
  /** transformers' `fast_vlm`, with a Qwen2 or Phi-3 language model */
  | "fast_vlm"
  /** Apple's release, `llava_qwen2` */
  | "llava"
  /** this project's variant: FastViTHD, pooled and enhanced features, Phi-4 */
  | "fastvlm_phi4"
  /** a Phi-3, Phi-4 or Qwen2 language model alone */
  | "text"
  /** a FastViTHD tower alone */
  | "fastvit"
  /** a projector alone */
  | "projector";

/** What a checkpoint holds, and under which names. Prefixes and modules are dotted and end without a dot. */
export interface CheckpointFormat {
  readonly kind: CheckpointKind;
  readonly vision?: {
    readonly prefix: string;
    /** Whose names the tower uses; see `appleNames`. */
    readonly style: "apple" | "timm";
  };
  /** The projector's linear layers, in order. */
  readonly projector?: { readonly modules: readonly string[] };
  /** The feature enhancer's linear layers, in order. */
  readonly enhancer?: { readonly modules: readonly string[] };
  readonly language?: {
    /** Module that holds `embed_tokens`, `layers` and `norm`. */
    readonly prefix: string;
    /** Module of the output head; absent when the head is the embedding. */
    readonly head?: string;
    /** For `decoderConfig`. */
    readonly config: unknown;
  };
  /** For `fastvithdConfig`. */
  readonly visionConfig: unknown;
  /** For `connectorConfig`. */
  readonly connectorConfig: unknown;
  /** Images are padded to a square rather than cropped. */
  readonly padToSquare: boolean;
  /** Side in pixels of the square the tower was trained on. */
  readonly imageSize: number;
}

const KINDS: Readonly<Record<string, CheckpointKind>> = {
  fast_vlm: "fast_vlm",
  llava_qwen2: "llava",
  fastvlm_phi4: "fastvlm_phi4",
  phi3: "text",
  qwen2: "text",
};

/** First convolution of the stem, folded or with the branches of training: what comes before it is the tower's prefix. */
const STEMS = [
  { suffix: "stem.0.reparam_conv.weight", style: "timm" },
  { suffix: "stem.0.conv_kxk.0.conv.weight", style: "timm" },
  { suffix: "patch_embed.0.reparam_conv.weight", style: "apple" },
  { suffix: "patch_embed.0.rbr_conv.0.conv.weight", style: "apple" },
] as const;

/** The second of each is what older LLaVA conversions in transformers wrote. */
const LANGUAGE_PREFIXES = ["model.language_model", "language_model.model", "model", ""];
const HEADS = ["lm_head", "language_model.lm_head"];

const DEFAULT_IMAGE_SIZE = 1024;
const MAX_IMAGE_SIZE = 16384;
/** `quant_method` of the folders that `fastvlm quantize` writes. */
export const QUANT_METHOD = "fastvlm";
const HINT_FLOAT = "Use the original checkpoint in bfloat16, f16 or f32.";

/**
 * Finds out what a checkpoint is: from `model_type` in `config.json` and the names of its tensors.
 *
 * @throws ConfigError for formats this engine does not read (quantised, MLX, other architectures), by name
 * @throws CheckpointError when the tensors are not those of the architecture that `config.json` names
 */
export async function identify(checkpoint: Checkpoint): Promise<CheckpointFormat> {
  const config = checkpoint.config ?? {};
  const settings = new Settings(config, "config.json");
  refuseQuantised(checkpoint, config);
  refuseMlx(checkpoint);
  const names = [...checkpoint.tensors.keys()];
  const vision = findVision(names);
  const projector = findProjector(names);
  const enhancer = findEnhancer(names);
  const language = findLanguage(checkpoint);
  const kind = kindOf(checkpoint, settings, { vision, projector, language });
  const textConfig = kind === "fast_vlm" ? (config.text_config ?? { model_type: "qwen2" }) : config;
  return {
    kind,
    ...(vision && { vision }),
    ...(projector && { projector: { modules: projector } }),
    ...(enhancer && { enhancer: { modules: enhancer } }),
    ...(language && { language: { ...language, config: textConfig } }),
    visionConfig: kind === "fast_vlm" ? config.vision_config : config,
    connectorConfig: config,
    // transformers' processor crops unless the checkpoint says otherwise; Apple's code pads.
    padToSquare: (settings.text("image_aspect_ratio") ?? (kind === "fast_vlm" ? "crop" : "pad")) === "pad",
    imageSize: await imageSize(checkpoint, settings),
  };
}

/** Tensors that checkpoints carry and inference does not need: counters, tables, classifier heads. */
export function isIgnorable(name: string): boolean {
  return /(^|\.)(num_batches_tracked|inv_freq|image_newline|head\.proj|head\.fc\.(weight|bias))$/.test(name);
}

function kindOf(
  checkpoint: Checkpoint,
  settings: Settings,
  found: { vision: unknown; projector: unknown; language: unknown },
): CheckpointKind {
  const type = settings.text("model_type");
  const kind = type !== undefined && Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (type !== undefined && !kind) {
    throw settings.wrong(
      "model_type",
      `one of ${Object.keys(KINDS).join(", ")}`,
      "This architecture is not supported.",
    );
  }
  if (found.projector && !found.vision && !found.language) return "projector";
  if (found.vision && !found.language && (kind === undefined || kind === "text")) return "fastvit";
  if (kind === undefined) {
    if (checkpoint.config) throw settings.wrong("model_type", `one of ${Object.keys(KINDS).join(", ")}`);
    throw new ConfigError(`${checkpoint.name}: config.json is missing`, {
      hint: "Copy config.json from where the weights came from; it has the sizes of the model.",
    });
  }
  if (!found.language && !found.vision) {
    const example = checkpoint.tensors.keys().next().value ?? "no tensors at all";
    throw new CheckpointError(`${checkpoint.name}: expected the tensors of ${type}, got names such as ${example}`, {
      hint: "config.json and the weights belong to different models.",
    });
  }
  return kind;
}

function findVision(names: readonly string[]): CheckpointFormat["vision"] {
  for (const { suffix, style } of STEMS) {
    const name = names.find((candidate) => candidate === suffix || candidate.endsWith(`.${suffix}`));
    if (name !== undefined) return { prefix: name.slice(0, -suffix.length).replace(/\.$/, ""), style };
  }
  return undefined;
}

/** `linear_1`, `linear_2`, … (transformers), `0`, `2`, … (an nn.Sequential, GELU at the odd places), or one layer. */
function findProjector(names: readonly string[]): string[] | undefined {
  const pattern = /^(.*\b(?:mm_projector|multi_modal_projector))(?:\.(?:linear_)?(\d+))?\.weight$/;
  const found = names.map((name) => pattern.exec(name)).filter((match) => match !== null);
  if (found.length === 0) return undefined;
  return found.sort((a, b) => Number(a[2] ?? 0) - Number(b[2] ?? 0)).map(([name]) => name.slice(0, -".weight".length));
}

/** The modules that `depth` linear layers of a projector are, spelt as those that were found are. */
export function projectorModules([first = ""]: readonly string[], depth: number): string[] {
  const [, base, linear = "", place] = /^(.*?)(?:\.(linear_)?(\d+))?$/.exec(first)!;
  if (place === undefined && depth === 1) return [first];
  return Array.from({ length: depth }, (_, i) => `${base}.${linear}${linear ? i + 1 : 2 * i}`);
}

/** The same for the feature enhancer, which has two. */
export function enhancerModules([first = "feature_enhancer.0"]: readonly string[]): string[] {
  const base = first.replace(/\.\d+$/, "");
  return [`${base}.0`, `${base}.2`];
}

function findEnhancer(names: readonly string[]): string[] | undefined {
  const found = names.filter((name) => /\bfeature_enhancer\.\d+\.weight$/.test(name)).sort();
  return found.length > 0 ? found.map((name) => name.slice(0, -".weight".length)) : undefined;
}

function findLanguage({ tensors }: Checkpoint): { prefix: string; head?: string } | undefined {
  const prefix = LANGUAGE_PREFIXES.find((p) => tensors.has(p ? `${p}.embed_tokens.weight` : "embed_tokens.weight"));
  if (prefix === undefined) return undefined;
  // `tie_word_embeddings` is wrong in some published configs; the tensors are not.
  const head = HEADS.find((name) => tensors.has(`${name}.weight`));
  return head === undefined ? { prefix } : { prefix, head };
}

function refuseQuantised({ tensors }: Checkpoint, config: JsonObject): void {
  const text = config.text_config as JsonObject | null | undefined;
  for (const [where, settings] of Object.entries({ "config.json": config, "config.json: text_config": text })) {
    const quantisation = settings?.quantization_config ?? settings?.quantization;
    if (quantisation === undefined || quantisation === null) continue;
    const { quant_method: method } = quantisation as JsonObject;
    if (method === QUANT_METHOD) return;
    const name = typeof method === "string" ? method : "MLX";
    throw new ConfigError(`${where}: expected floating-point weights, got a checkpoint quantised by ${name}`, {
      hint: HINT_FLOAT,
    });
  }
  for (const name of tensors.keys()) {
    if (/\.(qweight|qzeros|weight_packed|absmax|scales)$/.test(name)) {
      throw new ConfigError(`${name}: expected floating-point weights, got a quantised checkpoint`, {
        hint: HINT_FLOAT,
      });
    }
  }
}

/** MLX conversions store convolutions channels-last and rename modules; Apple's exports leave out the image encoder. */
function refuseMlx({ tensors }: Checkpoint): void {
  for (const name of tensors.keys()) {
    if (/(^|\.)vision_tower\.vision_model\.|patch_embed\.blocks\.|multi_modal_projector\.linear_0\./.test(name)) {
      throw new ConfigError(`${name}: expected a PyTorch checkpoint, got a conversion for MLX`, {
        hint: "Use the checkpoint it was made from, such as apple/FastVLM-0.5B.",
      });
    }
  }
}

/** Apple's configs name the side in the tower (`mobileclip_l_1024`), image processors in `crop_size` or `size`. */
async function imageSize(checkpoint: Checkpoint, settings: Settings): Promise<number> {
  const named = /_(\d+)$/.exec(settings.text("mm_vision_tower") ?? "")?.[1];
  const file = "preprocessor_config.json";
  const alone = await checkpoint.json(file);
  const nested = alone ? undefined : await checkpoint.json("processor_config.json");
  const processor = new Settings(alone ?? nested?.image_processor ?? {}, alone ? file : "processor_config.json");
  const side =
    Number(named ?? 0) || sideOf(processor.raw("crop_size")) || sideOf(processor.raw("size")) || DEFAULT_IMAGE_SIZE;
  if (!Number.isInteger(side) || side < 1 || side > MAX_IMAGE_SIZE) {
    throw new ConfigError(`${file}: image size: expected 1 to ${MAX_IMAGE_SIZE} pixels, got ${side}`);
  }
  return side;
}

/** `256`, `{ height, width }` or `{ shortest_edge }`; 0 when absent. */
function sideOf(value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value !== "object" || value === null) return 0;
  const { shortest_edge: edge, height } = value as { shortest_edge?: unknown; height?: unknown };
  const side = edge ?? height ?? 0;
  return typeof side === "number" ? side : 0;
}
