import { adaptiveAvgPool2d } from "../../kernels/adaptive_avg_pool2d.ts";
import { linear } from "../../kernels/linear.ts";
import type { Weights } from "../../weights/weights.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ConnectorConfig } from "./connector_config.ts";

/**
 * What joins tower and language model: an optional adaptive average pool to a fixed grid, an optional feature enhancer
 * (both from this project's FastVLM-Phi4 variant), then the projector: linear layers with GELU in between.
 */
export class Connector {
  readonly config: ConnectorConfig;
  readonly #enhancer: readonly Affine[];
  readonly #projector: readonly Affine[];

  /** @param projector cursors at the projector's linear layers in order @param enhancer the same for the enhancer */
  constructor(projector: readonly Weights[], enhancer: readonly Weights[], config: ConnectorConfig) {
    const { inputs: C, outputs: D } = config;
    this.config = config;
    this.#enhancer = enhancer.map((w, i) => (i === 0 ? new Affine(w, C, C / 2) : new Affine(w, C / 2, C)));
    this.#projector = projector.map((w, i) => new Affine(w, i === 0 ? C : D, D));
  }

  /** Image tokens for a feature map of height × width; `pool` as for `forward`. */
  tokens(height: number, width: number, pool?: number): number {
    const [h, w] = this.#grid(pool) ?? [height, width];
    return h * w;
  }

  /**
   * Features [B, H, W, C] → image tokens f32 [B, N, D]
   *
   * @param side of a square grid that the features are averaged to first, N = side². Default: the configuration's grid, or none
   */
  forward(features: Tensor, side?: number): Tensor {
    const { gpu } = features;
    const { B, H, W, C } = features.dims("B H W C");
    const pool = this.#grid(side);
    const grid = pool && (pool[0] !== H || pool[1] !== W) ? adaptiveAvgPool2d(features, pool) : features;
    if (pool) gpu.mark("seed.pooled", grid);
    const tokens = grid.reshape([B, this.tokens(H, W, side), C]);
    if (this.#enhancer.length > 0) gpu.mark("seed.tokens", tokens);
    const enhanced = perceptron(tokens, this.#enhancer);
    if (this.#enhancer.length > 0) gpu.mark("seed.enhanced", enhanced);
    return gpu.mark("projector.out", perceptron(enhanced, this.#projector));
  }

  #grid(side: number | undefined): readonly [number, number] | undefined {
    return side === undefined ? this.config.pool : [side, side];
  }
}

/** Linear layers with GELU between them, none after the last. In f32: few rows, and what the language model sees. */
function perceptron(x: Tensor, layers: readonly Affine[]): Tensor {
  return layers.reduce((h, layer, i) => layer.forward(h, i === layers.length - 1 ? undefined : "gelu"), x);
}

class Affine {
  readonly #weight: Tensor;
  readonly #bias: Tensor;

  constructor(w: Weights, inputs: number, outputs: number) {
    this.#weight = w.tensor("weight", [outputs, inputs]);
    this.#bias = w.tensor("bias", [outputs], { dtype: "f32" });
  }

  forward(x: Tensor, activation: "gelu" | undefined): Tensor {
    return linear(x, this.#weight, { bias: this.#bias, activation, dtype: "f32" });
  }
}
