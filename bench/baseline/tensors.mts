import { linear, type RandomTensor } from "../../test/random_tensors.ts";
import { gridOf, type SiglipConfig } from "./siglip.mts";

/** The tensors of a SigLIP tower under transformers' names, to be filled at random; activations keep a sane size. */
export function siglipTensors(config: SiglipConfig): RandomTensor[] {
  const { patch, width: W, layers, mlpWidth: M } = config;
  const vector = (name: string, mean = 0): RandomTensor => ({ name, shape: [W], mean, std: 0.02 });
  const norm = (name: string): RandomTensor[] => [vector(`${name}.weight`, 1), vector(`${name}.bias`)];
  const residual = 1 / Math.sqrt(2 * layers);
  const patches = "embeddings.patch_embedding";
  return [
    { name: `${patches}.weight`, shape: [W, 3, patch, patch], std: 1 / Math.sqrt(3 * patch ** 2) },
    vector(`${patches}.bias`),
    { name: "embeddings.position_embedding.weight", shape: [gridOf(config) ** 2, W], std: 0.5 },
    ...Array.from({ length: layers }, (_, i) => `encoder.layers.${i}`).flatMap((layer) => [
      ...norm(`${layer}.layer_norm1`),
      ...["q", "k", "v"].flatMap((part) => [...linear(`${layer}.self_attn.${part}_proj`, W, W, 1, true)]),
      ...linear(`${layer}.self_attn.out_proj`, W, W, residual, true),
      ...norm(`${layer}.layer_norm2`),
      ...linear(`${layer}.mlp.fc1`, M, W, 1, true),
      ...linear(`${layer}.mlp.fc2`, W, M, residual, true),
    ]),
  ];
}

/** LLaVA's projector between this tower and a language model of width D. */
export const projectorTensors = (width: number, D: number): RandomTensor[] => [
  ...linear("mm_projector.0", D, width, 1, true),
  ...linear("mm_projector.2", D, D, 1, true),
];
