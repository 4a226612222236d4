import { linear } from "../../kernels/linear.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { randomFolderOf } from "../../test/random_folder.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { Weights } from "../../weights/weights.ts";
import { gridOf, Siglip, type SiglipConfig } from "./siglip.mts";
import { projectorTensors, siglipTensors } from "./tensors.mts";

/**
 * The eye of LLaVA-OneVision (arXiv 2408.03326): the whole picture and nine parts of it, each a tile of 384² pixels, go
 * through SigLIP and a two-layer projector.
 */
export class OneVisionEye {
  readonly tower: Siglip;
  readonly #first: readonly [weight: Tensor, bias: Tensor];
  readonly #second: readonly [weight: Tensor, bias: Tensor];

  /** @param w at the tower's `vision_model` @param projector beside `mm_projector` @param D the language model's width */
  constructor(w: Weights, projector: Weights, config: SiglipConfig, D: number) {
    const layer = (name: string, inputs: number) =>
      [
        projector.tensor(`mm_projector.${name}.weight`, [D, inputs]),
        projector.tensor(`mm_projector.${name}.bias`, [D], { dtype: "f32" }),
      ] as const;
    this.tower = new Siglip(w, config);
    this.#first = layer("0", config.width);
    this.#second = layer("2", D);
  }

  /** Tokens of one tile. */
  get tokensPerTile(): number {
    return gridOf(this.tower.config) ** 2;
  }

  /** Patches of tiles [B, N, 3·P²] → image tokens f32 [B, N, D] */
  forward(patches: Tensor): Tensor {
    const [w1, b1] = this.#first;
    const [w2, b2] = this.#second;
    const features = this.tower.forward(patches);
    const hidden = linear(features, w1, { bias: b1, activation: "gelu", dtype: "f32" });
    return linear(hidden, w2, { bias: b2, dtype: "f32" });
  }

  /** One with seeded random weights, in front of a language model of width `D`. */
  static async random(gpu: Gpu, config: SiglipConfig, D: number, dtype: "f32" | "f16"): Promise<OneVisionEye> {
    const tensors = [...siglipTensors(config), ...projectorTensors(config.width, D)];
    const texts = { "config.json": "{}" };
    const folder = randomFolderOf(tensors, { name: "random siglip", dtype: "bf16", texts });
    const weights = Weights.of(gpu, await openCheckpoint(folder), dtype);
    const eye = new OneVisionEye(weights, weights, config, D);
    await weights.load();
    return eye;
  }
}
