// The tensors of checkpoints of full size, and how to fill them: names and shapes of the published models, seeded normal numbers.
//
// Activations keep a sane size: matrices have a standard deviation near 1/√fan-in, norms are near 1, layer scales 0.1.
import { FASTVITHD } from "../src/models/fastvithd/config.ts";
import { appleNames } from "../weights/names.ts";
import { CONFIGS, type LanguageConfig } from "./random_shapes.ts";

/** Normal numbers of this mean and deviation, plus `centre` at the middle tap of each kernel. */
export interface RandomTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean?: number;
  readonly std: number;
  readonly centre?: number;
}

function* tower(prefix: string, rename: (timm: string) => string): Generator<RandomTensor> {
  const { layers, embedDims, mlpRatio, outputChannels } = FASTVITHD;
  const at = (name: string) => prefix + rename(name);
  const vector = (name: string, size: number, mean = 0, std = 0.02) => ({ name: at(name), shape: [size], mean, std });
  // GELU halves the variance; √2 makes up for it.
  function* conv(name: string, outputs: number, fan: number, kernel: number, options: Partial<RandomTensor> = {}) {
    const std = Math.sqrt(2 / (fan * kernel * kernel));
    yield { name: at(`${name}.weight`), shape: [outputs, fan, kernel, kernel], std, ...options };
    yield vector(`${name}.bias`, outputs);
  }
  const skip = { std: 0.05, centre: 1 };
  const gamma = (name: string, size: number) => ({
    name: at(`${name}.gamma`),
    shape: [size, 1, 1],
    mean: 0.1,
    std: 0.01,
  });
  yield* conv("stem.0.reparam_conv", embedDims[0], 3, 3);
  yield* conv("stem.1.reparam_conv", embedDims[0], 1, 3);
  yield* conv("stem.2.reparam_conv", embedDims[0], embedDims[0], 1);
  for (const [s, channels] of embedDims.entries()) {
    const stage = `stages.${s}`;
    if (s > 0) yield* conv(`${stage}.downsample.proj.0.reparam_conv`, channels, 1, 7);
    if (s > 0) yield* conv(`${stage}.downsample.proj.1.reparam_conv`, channels, channels, 1);
    if (s > 2) yield* conv(`${stage}.pos_emb.reparam_conv`, channels, 1, 7, skip);
    for (let b = 0; b < layers[s]!; b++) {
      const block = `${stage}.blocks.${b}`;
      if (s > 2) {
        yield vector(`${block}.norm.weight`, channels, 1);
        yield vector(`${block}.norm.bias`, channels);
        const std = 1 / Math.sqrt(channels);
        yield { name: at(`${block}.token_mixer.qkv.weight`), shape: [3 * channels, channels], std };
        yield { name: at(`${block}.token_mixer.proj.weight`), shape: [channels, channels], std };
        yield vector(`${block}.token_mixer.proj.bias`, channels);
        yield gamma(`${block}.layer_scale_1`, channels);
        yield gamma(`${block}.layer_scale_2`, channels);
      } else {
        yield* conv(`${block}.token_mixer.reparam_conv`, channels, 1, 3, skip);
        yield gamma(`${block}.layer_scale`, channels);
      }
      yield { name: at(`${block}.mlp.conv.conv.weight`), shape: [channels, 1, 7, 7], std: 1 / 7 };
      for (const [name, mean] of Object.entries({ weight: 1, bias: 0, running_mean: 0, running_var: 1 })) {
        yield vector(`${block}.mlp.conv.bn.${name}`, channels, mean, 0.05);
      }
      yield* conv(`${block}.mlp.fc1`, mlpRatio * channels, channels, 1);
      yield* conv(`${block}.mlp.fc2`, channels, mlpRatio * channels, 1);
    }
  }
  yield* conv("final_conv.reparam_conv", outputChannels, 1, 3);
  yield* conv("final_conv.se.fc1", outputChannels / 16, outputChannels, 1);
  yield* conv("final_conv.se.fc2", outputChannels, outputChannels / 16, 1);
}

/** A linear layer whose outputs deviate as its inputs do, times `gain`. */
export function* linear(
  name: string,
  outputs: number,
  inputs: number,
  gain = 1,
  bias = false,
): Generator<RandomTensor> {
  yield { name: `${name}.weight`, shape: [outputs, inputs], std: gain / Math.sqrt(inputs) };
  if (bias) yield { name: `${name}.bias`, shape: [outputs], std: 0.02 };
}

function* language(config: LanguageConfig, prefix = "model"): Generator<RandomTensor> {
  const { hidden_size: D, intermediate_size: I, num_hidden_layers: L, vocab_size: V } = config;
  const headDim = D / config.num_attention_heads;
  const kv = config.num_key_value_heads * headDim;
  const norm = (name: string) => ({ name: `${name}.weight`, shape: [D], mean: 1, std: 0.02 });
  yield* linear(`${prefix}.embed_tokens`, V, D, 2);
  // Every layer adds to the residual stream twice.
  const residual = 1 / Math.sqrt(2 * L);
  for (let i = 0; i < L; i++) {
    const layer = `${prefix}.layers.${i}`;
    yield norm(`${layer}.input_layernorm`);
    if (config.model_type === "phi3") {
      yield* linear(`${layer}.self_attn.qkv_proj`, D + 2 * kv, D);
      yield* linear(`${layer}.mlp.gate_up_proj`, 2 * I, D);
    } else {
      yield* linear(`${layer}.self_attn.q_proj`, D, D, 1, true);
      yield* linear(`${layer}.self_attn.k_proj`, kv, D, 1, true);
      yield* linear(`${layer}.self_attn.v_proj`, kv, D, 1, true);
      yield* linear(`${layer}.mlp.gate_proj`, I, D);
      yield* linear(`${layer}.mlp.up_proj`, I, D);
    }
    yield* linear(`${layer}.self_attn.o_proj`, D, D, residual);
    yield norm(`${layer}.post_attention_layernorm`);
    yield* linear(`${layer}.mlp.down_proj`, D, I, residual);
  }
  yield norm(`${prefix}.norm`);
  if (!config.tied) yield* linear("lm_head", V, D, 2);
}

/** Every tensor of a checkpoint of this shape, one of `CONFIGS`, in the order of the file. */
export function tensorsOf(shape: string): RandomTensor[] {
  const { language: text, config } = CONFIGS[shape]!;
  if (!text) return [...tower("", (timm) => timm)];
  const { hidden_size: D } = text;
  const projector = (first: string, second: string) => [
    ...linear(first, D, FASTVITHD.outputChannels, 1, true),
    ...linear(second, D, D, 1, true),
  ];
  if (config.model_type === "llava_qwen2") {
    return [
      ...language(text),
      ...tower("model.vision_tower.vision_tower.model.", appleNames),
      ...projector("model.mm_projector.0", "model.mm_projector.2"),
    ];
  }
  if (config.model_type === "fast_vlm") {
    return [
      ...language(text, "model.language_model"),
      ...tower("model.vision_tower.timm_model.", (timm) => timm),
      ...projector("model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"),
    ];
  }
  return [...language(text)];
}
