import { selfAttention } from "../../kernels/attention.ts";
import { layerNorm } from "../../kernels/layer_norm.ts";
import { linear } from "../../kernels/linear.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import type { Weights } from "../../weights/weights.ts";

/** Sizes of a SigLIP vision tower (arXiv 2303.15343). */
export interface SiglipConfig {
  /** Side of a tile in pixels. */
  readonly imageSize: number;
  /** Side of a patch in pixels; what does not divide by it is cut off at the right and the bottom. */
  readonly patch: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  /** ε of every layer norm. */
  readonly eps: number;
}

/** google/siglip-so400m-patch14-384. */
export const SO400M: SiglipConfig = {
  imageSize: 384,
  patch: 14,
  width: 1152,
  layers: 27,
  heads: 16,
  mlpWidth: 4304,
  eps: 1e-6,
};

/** Patches of a tile, along each side. */
export const gridOf = ({ imageSize, patch }: SiglipConfig): number => Math.floor(imageSize / patch);

/**
 * SigLIP's vision transformer (arXiv 2303.15343), without the last norm and the pooling head, which language models do not
 * use. GELU is the exact one instead of its tanh approximation: the same work, and nobody trained these weights.
 *
 *     x = patches · Wᵀ + b + positions
 *     x ← x + attention(norm₁(x))      in every layer
 *     x ← x + mlp(norm₂(x))
 */
export class Siglip {
  readonly config: SiglipConfig;
  readonly #patches: Affine;
  readonly #positions: Tensor;
  readonly #layers: readonly EncoderLayer[];

  /** @param w at `vision_model` of a transformers checkpoint */
  constructor(w: Weights, config: SiglipConfig) {
    const { patch, width, layers } = config;
    const embeddings = w.at("embeddings");
    this.config = config;
    this.#patches = {
      weight: embeddings.tensor("patch_embedding.weight", [width, 3, patch, patch], { as: [width, 3 * patch ** 2] }),
      bias: embeddings.tensor("patch_embedding.bias", [width], { dtype: "f32" }),
    };
    this.#positions = embeddings.tensor("position_embedding.weight", [gridOf(config) ** 2, width]);
    this.#layers = Array.from({ length: layers }, (_, i) => new EncoderLayer(w.at("encoder.layers").at(i), config));
  }

  /** Patches of tiles [B, N, 3·P²] as `patchesOf` cuts them → features [B, N, W] */
  forward(patches: Tensor): Tensor {
    const { gpu } = patches;
    const { B } = patches.dims("B N P");
    const { weight, bias } = this.#patches;
    const residual = this.#positions.like([B, ...this.#positions.shape]);
    for (let b = 0; b < B; b++) gpu.copy(this.#positions, residual.rows(b, b + 1));
    const x = linear(patches, weight, { bias, residual });
    return gpu.through(
      x,
      this.#layers.map((layer) => (h: Tensor) => layer.forward(h)),
    );
  }
}

/** A pre-norm transformer layer. */
class EncoderLayer {
  readonly #norm1: Affine;
  readonly #qkv: Affine;
  readonly #out: Affine;
  readonly #norm2: Affine;
  readonly #fc1: Affine;
  readonly #fc2: Affine;
  readonly #config: SiglipConfig;

  constructor(w: Weights, config: SiglipConfig) {
    const { width: W, mlpWidth: M } = config;
    const attention = w.at("self_attn");
    const qkv = (name: string) => ["q_proj", "k_proj", "v_proj"].map((part) => `${part}.${name}`);
    this.#config = config;
    this.#norm1 = norm(w.at("layer_norm1"), W);
    this.#qkv = {
      weight: attention.concat(qkv("weight"), [
        [W, W],
        [W, W],
        [W, W],
      ]),
      bias: attention.concat(qkv("bias"), [[W], [W], [W]], { dtype: "f32" }),
    };
    this.#out = affine(attention.at("out_proj"), W, W);
    this.#norm2 = norm(w.at("layer_norm2"), W);
    this.#fc1 = affine(w.at("mlp.fc1"), W, M);
    this.#fc2 = affine(w.at("mlp.fc2"), M, W);
  }

  /** [B, N, W] → [B, N, W] */
  forward(x: Tensor): Tensor {
    const { heads, eps } = this.#config;
    const qkv = apply(layerNorm(x, this.#norm1.weight, this.#norm1.bias, eps), this.#qkv); // [B, N, 3W]
    const h = apply(selfAttention(qkv, heads), this.#out, x);
    const normed = layerNorm(h, this.#norm2.weight, this.#norm2.bias, eps);
    const hidden = linear(normed, this.#fc1.weight, { bias: this.#fc1.bias, activation: "gelu" }); // [B, N, M]
    return apply(hidden, this.#fc2, h);
  }
}

interface Affine {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

const apply = (x: Tensor, { weight, bias }: Affine, residual?: Tensor): Tensor => linear(x, weight, { bias, residual });

function affine(w: Weights, inputs: number, outputs: number): Affine {
  return { weight: w.tensor("weight", [outputs, inputs]), bias: w.tensor("bias", [outputs], { dtype: "f32" }) };
}

function norm(w: Weights, width: number): Affine {
  return { weight: w.tensor("weight", [width], { dtype: "f32" }), bias: w.tensor("bias", [width], { dtype: "f32" }) };
}

/**
 * Cuts a tile into patches: RGB bytes [S, S, 3] → [N, 3·P²], channel by channel as a convolution's weights are, −1 … 1.
 *
 * A convolution whose stride is its size is a linear layer over such rows.
 */
export function patchesOf(tile: Uint8Array, config: SiglipConfig): Float32Array<ArrayBuffer> {
  const { imageSize: S, patch: P } = config;
  const grid = gridOf(config);
  const rows = new Float32Array(grid ** 2 * 3 * P ** 2);
  let at = 0;
  for (let token = 0; token < grid ** 2; token++) {
    const [top, left] = [Math.floor(token / grid) * P, (token % grid) * P];
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < P; y++) {
        for (let x = 0; x < P; x++) rows[at++] = tile[((top + y) * S + left + x) * 3 + c]! / 127.5 - 1;
      }
    }
  }
  return rows;
}
