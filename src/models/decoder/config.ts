import { QUANT_METHOD } from "../../../weights/formats.ts";
import { Settings } from "../../../weights/settings.ts";
import { ConfigError } from "../../errors.ts";

/** Sizes and settings of a Phi-3 (Phi-4, Phi-4-mini) or Qwen2 language model. */
export interface DecoderConfig {
  readonly modelType: "phi3" | "qwen2";
  readonly hiddenSize: number;
  readonly layers: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; each serves heads / kvHeads query heads. */
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  /** ε of every RMSNorm. */
  readonly normEps: number;
  readonly ropeTheta: number;
  /** Leading elements of a head that are rotated; even. */
  readonly rotaryDim: number;
  readonly longRope?: LongRope;
  /** Whether queries, keys and values have biases. */
  readonly attentionBias: boolean;
  /** Whether queries, keys and values are one matrix, and gate and up another. */
  readonly fused: boolean;
  /** What config.json says, if anything, of the output head being the embedding. Whether it is, the tensors decide. */
  readonly tied: boolean | undefined;
  readonly maxPositions: number;
  /** Ids of tokens that end a text, by config.json; an answer ends at others too. */
  readonly eosTokens: readonly number[];
}

/** LongRoPE (arXiv 2402.13753): frequencies divided by one list of factors up to `original` positions, by another past it. */
export interface LongRope {
  /** One factor per rotated pair, for contexts of at most `original` tokens. */
  readonly short: readonly number[];
  /** The same for longer contexts. */
  readonly long: readonly number[];
  readonly original: number;
  /** Multiplies cosines and sines, whatever the context. */
  readonly attentionFactor: number;
}

/** What transformers' configuration classes use for absent keys. */
const DEFAULTS = {
  phi3: { vocab: 32064, hidden: 3072, intermediate: 8192, layers: 32, heads: 32, eps: 1e-5, positions: 4096 },
  qwen2: { vocab: 151936, hidden: 4096, intermediate: 22016, layers: 32, heads: 32, eps: 1e-6, positions: 32768 },
} as const;

const TYPES: Readonly<Record<string, "phi3" | "qwen2">> = {
  phi3: "phi3",
  qwen2: "qwen2",
  llava_qwen2: "qwen2",
};
const MAX_LAYERS = 1024;

/**
 * Reads the language part of `config.json`, in the spellings of transformers 4 (`rope_theta`, `rope_scaling`) and
 * 5 (`rope_parameters`).
 *
 * @throws ConfigError naming a setting that makes no sense or that this engine does not do
 */
export function decoderConfig(source: unknown): DecoderConfig {
  const settings = new Settings(source, "config.json");
  const modelType = decoderType(settings);
  const base = DEFAULTS[modelType];
  refuseUnsupported(settings, modelType);
  const hiddenSize = settings.size("hidden_size", base.hidden);
  const heads = settings.size("num_attention_heads", base.heads);
  const kvHeads = settings.size("num_key_value_heads", heads);
  if (heads % kvHeads !== 0) throw settings.wrong("num_key_value_heads", `a divisor of ${heads}, num_attention_heads`);
  if (!settings.has("head_dim") && hiddenSize % heads !== 0) {
    throw settings.wrong("hidden_size", `a multiple of ${heads}, num_attention_heads`);
  }
  const headDim = settings.size("head_dim", hiddenSize / heads);
  const maxPositions = settings.size("max_position_embeddings", base.positions);
  refuseWindow(settings, modelType, maxPositions);
  const rope = readRope(settings, modelType, headDim, maxPositions);
  return {
    modelType,
    hiddenSize,
    layers: settings.size("num_hidden_layers", base.layers, { max: MAX_LAYERS }),
    heads,
    kvHeads,
    headDim,
    intermediateSize: settings.size("intermediate_size", base.intermediate),
    vocabSize: settings.size("vocab_size", base.vocab),
    normEps: settings.number("rms_norm_eps", base.eps, { min: 0, max: 1 }),
    ...rope,
    attentionBias: modelType === "qwen2",
    fused: modelType === "phi3",
    tied: settings.has("tie_word_embeddings") ? settings.boolean("tie_word_embeddings", false) : undefined,
    maxPositions,
    eosTokens: tokenIds(settings, "eos_token_id"),
  };
}

/** The token ids under `key`: one, a list, or none. */
function tokenIds(settings: Settings, key: string): number[] {
  const value = settings.raw(key);
  const ids: unknown[] = value === undefined ? [] : Array.isArray(value) ? value : [value];
  if (!ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0)) throw settings.wrong(key, "token ids");
  return ids as number[];
}

function decoderType(settings: Settings): "phi3" | "qwen2" {
  const key = settings.has("text_model_type") ? "text_model_type" : "model_type";
  const name = settings.text(key) ?? "";
  const type = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  if (!type) throw settings.wrong(key, "phi3 or qwen2", "Only Phi-3, Phi-4 and Qwen2 language models are supported.");
  return type;
}

function refuseUnsupported(settings: Settings, modelType: "phi3" | "qwen2"): void {
  for (const key of ["quantization_config", "quantization"]) {
    if (settings.has(key) && settings.object(key)?.text("quant_method") !== QUANT_METHOD)
      throw settings.wrong(key, "none", "Use the original checkpoint in bfloat16, f16 or f32.");
  }
  if ((settings.text("hidden_act") ?? "silu") !== "silu") throw settings.wrong("hidden_act", "silu");
  const biases = modelType === "phi3" ? ["attention_bias", "mlp_bias", "lm_head_bias"] : ["mlp_bias", "lm_head_bias"];
  for (const key of biases) if (settings.boolean(key, false)) throw settings.wrong(key, "false");
}

/** A window that never closes within the context changes nothing; any other would need its own attention. */
function refuseWindow(settings: Settings, modelType: "phi3" | "qwen2", maxPositions: number): void {
  if (modelType === "qwen2") {
    if (!settings.boolean("use_sliding_window", false)) return;
    const layers = settings.size("num_hidden_layers", DEFAULTS.qwen2.layers);
    if (settings.size("max_window_layers", 28, { min: 0 }) >= layers) return;
  }
  const window = settings.size("sliding_window", maxPositions, { min: 0 });
  if (window < maxPositions) {
    throw settings.wrong("sliding_window", `null or at least ${maxPositions}, max_position_embeddings`);
  }
}

function readRope(settings: Settings, modelType: "phi3" | "qwen2", headDim: number, maxPositions: number) {
  const rope = settings.object("rope_parameters") ?? settings.object("rope_scaling");
  const at = (key: string) => (rope?.has(key) ? rope : settings);
  const ropeTheta = at("rope_theta").number("rope_theta", 10000);
  const factor = at("partial_rotary_factor").number("partial_rotary_factor", 1, { max: 1 });
  const rotaryDim = Math.trunc(headDim * factor);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0) {
    throw new ConfigError(
      `config.json: expected an even number of rotated elements per head, got ${headDim} · ${factor}`,
    );
  }
  const longRope = rope && readLongRope(rope, settings, modelType, rotaryDim / 2, maxPositions);
  return { ropeTheta, rotaryDim, ...(longRope && { longRope }) };
}

function readLongRope(
  rope: Settings,
  settings: Settings,
  modelType: "phi3" | "qwen2",
  pairs: number,
  maxPositions: number,
): LongRope | undefined {
  const key = rope.has("rope_type") ? "rope_type" : "type";
  const type = rope.text(key) ?? "default";
  if (type === "default") return undefined;
  // Early Phi-3 files call it by other names.
  const isLong = type === "longrope" || (modelType === "phi3" && (type === "su" || type === "yarn"));
  if (!isLong) throw rope.wrong(key, "default or longrope");
  const short = rope.numbers("short_factor", pairs);
  const long = rope.numbers("long_factor", pairs);
  if (!short) throw rope.wrong("short_factor", `a list of ${pairs} numbers`);
  if (!long) throw rope.wrong("long_factor", `a list of ${pairs} numbers`);
  const originalKey = "original_max_position_embeddings";
  const original = (rope.has(originalKey) ? rope : settings).size(originalKey, 4096, { min: 2 });
  const scaling = rope.number("factor", maxPositions / original);
  const suggested = scaling <= 1 ? 1 : Math.sqrt(1 + Math.log(scaling) / Math.log(original));
  return { short, long, original, attentionFactor: rope.number("attention_factor", suggested) };
}
