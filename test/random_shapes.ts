// The configurations of the published models, as their config.json has them.

export interface LanguageConfig {
  readonly model_type: "phi3" | "qwen2";
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly vocab_size: number;
  /** The output head is the embedding and not stored. */
  readonly tied: boolean;
}

export interface Published {
  readonly config: Readonly<Record<string, unknown>>;
  readonly language?: LanguageConfig;
  readonly generation?: Readonly<Record<string, unknown>>;
  /** Fixture whose tiny tokenizer stands in for the real one. */
  readonly tokenizer?: string;
}

/** apple/FastVLM: LLaVA around Qwen2. */
function fastvlm(language: Omit<LanguageConfig, "model_type" | "vocab_size" | "tied">): Published {
  const sizes = { ...language, vocab_size: 151936 };
  const config = {
    architectures: ["LlavaQwen2ForCausalLM"],
    model_type: "llava_qwen2",
    bos_token_id: 151643,
    eos_token_id: 151645,
    hidden_act: "silu",
    ...sizes,
    image_aspect_ratio: "pad",
    max_position_embeddings: 32768,
    max_window_layers: 24,
    mm_hidden_size: 3072,
    mm_patch_merge_type: "flat",
    mm_projector_type: "mlp2x_gelu",
    mm_use_im_patch_token: false,
    mm_use_im_start_end: false,
    mm_vision_select_feature: "patch",
    mm_vision_select_layer: -2,
    mm_vision_tower: "mobileclip_l_1024",
    rms_norm_eps: 1e-6,
    rope_theta: 1000000.0,
    sliding_window: 32768,
    tie_word_embeddings: true,
    tokenizer_model_max_length: 8192,
    use_cache: true,
    use_mm_proj: true,
    use_sliding_window: false,
  };
  return {
    config,
    language: { ...sizes, model_type: "qwen2", tied: true },
    generation: { bos_token_id: 151643, eos_token_id: [151645, 151643], pad_token_id: 151643 },
    tokenizer: "fastvlm_llava",
  };
}

const PHI4 = {
  hidden_size: 5120,
  intermediate_size: 17920,
  num_hidden_layers: 40,
  num_attention_heads: 40,
  num_key_value_heads: 10,
  vocab_size: 100352,
};

const PHI4_MINI = {
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 24,
  num_key_value_heads: 8,
  vocab_size: 200064,
};

const PHI = {
  architectures: ["Phi3ForCausalLM"],
  model_type: "phi3",
  hidden_act: "silu",
  attention_bias: false,
  rms_norm_eps: 1e-5,
  use_cache: true,
};

/** Phi-4-mini-instruct's factors for contexts beyond 4,096 tokens. */
const LONG_FACTORS = [
  1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649, 2.446418898, 2.735880826,
  3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845, 5.351743533, 5.984965424, 6.693110555, 7.485043894,
  8.370679318, 9.36110372, 10.4687158, 11.70738129, 13.09260651, 14.64173252, 16.37415215, 18.31155283, 20.47818807,
  22.90118105, 25.61086418, 28.64115884, 32.03, 32.1, 32.13, 32.23, 32.6, 32.61, 32.64, 32.66, 32.7, 32.71, 32.93,
  32.97, 33.28, 33.49, 33.5, 44.16, 47.77,
];

/** transformers' `fast_vlm` around a Phi language model. */
function fastvlmPhi({ config, language, generation }: Published): Published {
  return {
    config: {
      architectures: ["FastVlmForConditionalGeneration"],
      model_type: "fast_vlm",
      image_seq_length: 256,
      image_token_index: 323,
      multimodal_projector_bias: true,
      projector_hidden_act: "gelu",
      vision_feature_layer: -1,
      vision_feature_select_strategy: "full",
      tie_word_embeddings: language!.tied,
      text_config: config,
      vision_config: {
        architecture: "fastvit_mci3",
        model_type: "timm_wrapper",
        hidden_size: 3072,
        num_classes: 768,
        model_args: { inference_mode: true },
      },
    },
    language: language!,
    generation: generation!,
    tokenizer: "fastvlm_hf_phi",
  };
}

const SHAPES: Readonly<Record<string, Published>> = {
  "fastvlm-0.5b": fastvlm({
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
  }),
  "fastvlm-1.5b": fastvlm({
    hidden_size: 1536,
    intermediate_size: 8960,
    num_hidden_layers: 28,
    num_attention_heads: 12,
    num_key_value_heads: 2,
  }),
  "phi-4-mini": {
    config: {
      ...PHI,
      ...PHI4_MINI,
      partial_rotary_factor: 0.75,
      rope_theta: 10000.0,
      rope_scaling: { type: "longrope", short_factor: LONG_FACTORS.map(() => 1), long_factor: LONG_FACTORS },
      max_position_embeddings: 131072,
      original_max_position_embeddings: 4096,
      sliding_window: 262144,
      tie_word_embeddings: true,
      bos_token_id: 199999,
      eos_token_id: 199999,
    },
    language: { ...PHI4_MINI, model_type: "phi3", tied: true },
    generation: { bos_token_id: 199999, eos_token_id: [200020, 199999], pad_token_id: 199999 },
    tokenizer: "phi4_mini_tiny",
  },
  "phi-4": {
    config: {
      ...PHI,
      ...PHI4,
      rope_theta: 250000,
      rope_scaling: null,
      max_position_embeddings: 16384,
      original_max_position_embeddings: 16384,
      sliding_window: null,
      tie_word_embeddings: false,
      bos_token_id: 100257,
      eos_token_id: 100265,
    },
    language: { ...PHI4, model_type: "phi3", tied: false },
    generation: { bos_token_id: 100257, eos_token_id: [100257, 100265], pad_token_id: 100257 },
    tokenizer: "phi4_tiny",
  },
  fastvithd: { config: { architecture: "fastvit_mci3", num_classes: 0, model_args: { inference_mode: true } } },
};

export const CONFIGS: Readonly<Record<string, Published>> = {
  ...SHAPES,
  "fastvlm-phi-4-mini": fastvlmPhi(SHAPES["phi-4-mini"]!),
  "fastvlm-phi-4": fastvlmPhi(SHAPES["phi-4"]!),
};

/** CLIPImageProcessor at 1024², mean 0, deviation 1. */
export const PREPROCESSOR = {
  crop_size: { height: 1024, width: 1024 },
  do_center_crop: true,
  do_convert_rgb: true,
  do_normalize: true,
  do_rescale: true,
  do_resize: true,
  image_mean: [0, 0, 0],
  image_std: [1, 1, 1],
  image_processor_type: "CLIPImageProcessor",
  resample: 3,
  rescale_factor: 1 / 255,
  size: { shortest_edge: 1024 },
};
