import { Settings } from "../../weights/settings.ts";

/** What lies between tower and language model. */
export interface ConnectorConfig {
  /** Channels of a feature. */
  readonly inputs: number;
  /** Hidden size of the language model. */
  readonly outputs: number;
  /** Linear layers of the projector, GELU between them. */
  readonly depth: number;
  /** Grid [height, width] to which feature maps are pooled. */
  readonly pool?: readonly [number, number];
  /** A two-layer perceptron in front of the projector. */
  readonly enhancer: boolean;
}

const MAX_DEPTH = 16;

/**
 * Reads the connector from `config.json` of a `fast_vlm`, `llava_qwen2` or `fastvlm_phi4` checkpoint.
 *
 * `fastvlm_phi4` pools to `mm_adaptive_pool` (default [16, 16]) and has a feature enhancer unless
 * `mm_feature_enhancer` is null.
 *
 * @param inputs  channels of the tower's features
 * @param outputs hidden size of the language model
 * @param layers  linear layers of the projector where the file does not say, as beside a projector alone
 * @throws ConfigError for a connector this engine does not know
 */
export function connectorConfig(source: unknown, inputs: number, outputs: number, layers = 1): ConnectorConfig {
  const settings = new Settings(source ?? {}, "config.json");
  const type = settings.text("model_type");
  if (type === "fast_vlm") return { inputs, outputs, depth: transformersDepth(settings), enhancer: false };
  const declared = settings.size("mm_hidden_size", inputs);
  if (declared !== inputs) throw settings.wrong("mm_hidden_size", `${inputs}, the tower's output channels`);
  const merge = settings.text("mm_patch_merge_type") ?? "flat";
  if (merge !== "flat") throw settings.wrong("mm_patch_merge_type", "flat");
  const depth = projectorDepth(settings, layers);
  if (type !== "fastvlm_phi4") return { inputs, outputs, depth, enhancer: false };
  const [height, width] = settings.numbers("mm_adaptive_pool", 2, true) ?? [16, 16];
  const enhancer =
    "mm_feature_enhancer" in (source as object) ? settings.text("mm_feature_enhancer") : "mlp2_gelu_half";
  if (enhancer !== undefined && enhancer !== "mlp2_gelu_half") {
    throw settings.wrong("mm_feature_enhancer", "mlp2_gelu_half or null");
  }
  return { inputs, outputs, depth, pool: [height!, width!], enhancer: enhancer !== undefined };
}

/** transformers' `fast_vlm` always has two layers with bias; these settings would change that. */
function transformersDepth(settings: Settings): number {
  const activation = settings.text("projector_hidden_act") ?? "gelu";
  if (activation !== "gelu") throw settings.wrong("projector_hidden_act", "gelu");
  if (!settings.boolean("multimodal_projector_bias", true)) throw settings.wrong("multimodal_projector_bias", "true");
  const strategy = settings.text("vision_feature_select_strategy") ?? "full";
  if (strategy !== "full") throw settings.wrong("vision_feature_select_strategy", "full");
  return 2;
}

/** LLaVA's names: `linear`, `mlp2x_gelu` and other depths. */
function projectorDepth(settings: Settings, fallback: number): number {
  const type = settings.text("mm_projector_type");
  if (type === undefined) return fallback;
  if (type === "linear") return 1;
  const depth = Number(/^mlp(\d+)x_gelu$/.exec(type)?.[1]);
  if (!(depth >= 1 && depth <= MAX_DEPTH)) throw settings.wrong("mm_projector_type", "linear or mlp2x_gelu");
  return depth;
}
