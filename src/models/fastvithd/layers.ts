import { depthwiseConv2d } from "../../../kernels/depthwise_conv2d.ts";
import { im2col } from "../../../kernels/im2col.ts";
import { linear } from "../../../kernels/linear.ts";
import { convBn, reparam } from "../../../weights/fold.ts";
import type { Weights } from "../../../weights/weights.ts";
import type { Tensor } from "../../tensor/tensor.ts";

// The convolutions of FastViTHD. Each is a MobileOne or large-kernel block, reparameterised: either the checkpoint holds the
// one folded kernel, or its branches are folded at load (spec of the folding: weights/fold.ts).

interface ConvOptions {
  readonly kernel: 1 | 3 | 7;
  readonly stride?: 1 | 2;
  readonly activation?: "gelu";
}

/** Dense 3×3 convolution, stem only. */
export class DenseConv {
  readonly #weight: Tensor;
  readonly #bias: Tensor;

  constructor(w: Weights, inputs: number, outputs: number) {
    ({ weight: this.#weight, bias: this.#bias } = reparam(w, {
      kind: "mobileone",
      layout: "dense",
      inputs,
      outputs,
      kernel: 3,
    }));
  }

  /** [B, H, W, I] → [B, ⌈H/2⌉, ⌈W/2⌉, O] */
  forward(x: Tensor): Tensor {
    const { L } = this.#weight.dims("O L");
    const windows = im2col(x, { kernel: 3, stride: 2, length: L }); // [B, ⌈H/2⌉, ⌈W/2⌉, L]
    return linear(windows, this.#weight, { bias: this.#bias, activation: "gelu" });
  }
}

/** 1×1 convolution: the same matrix at every position. */
export class PointwiseConv {
  readonly #weight: Tensor;
  readonly #bias: Tensor;

  constructor(w: Weights, inputs: number, outputs: number) {
    ({ weight: this.#weight, bias: this.#bias } = reparam(w, {
      kind: "mobileone",
      layout: "pointwise",
      inputs,
      outputs,
      kernel: 1,
    }));
  }

  /** [B, H, W, I] → [B, H, W, O] */
  forward(x: Tensor): Tensor {
    return linear(x, this.#weight, { bias: this.#bias, activation: "gelu" });
  }
}

type DepthwiseKind = "mobileone" | "largekernel" | "repmixer" | "repcpe";

/** K×K depthwise convolution; with outputs = 2 · inputs, output channel o reads input channel ⌊o/2⌋. */
export class DepthwiseConv {
  readonly #weight: Tensor;
  readonly #bias: Tensor;
  readonly #options: ConvOptions;

  constructor(w: Weights, kind: DepthwiseKind, inputs: number, outputs: number, options: ConvOptions) {
    const { kernel } = options;
    ({ weight: this.#weight, bias: this.#bias } = reparam(w, { kind, layout: "depthwise", inputs, outputs, kernel }));
    this.#options = options;
  }

  /** [B, H, W, I] → [B, ⌈H/s⌉, ⌈W/s⌉, O] */
  forward(x: Tensor): Tensor {
    const { stride = 1, activation } = this.#options;
    return depthwiseConv2d(x, this.#weight, { bias: this.#bias, stride, ...(activation && { activation }) });
  }
}

/** 7×7 depthwise convolution with its batch norm folded in, then a two-layer perceptron at every position. */
export class ConvFfn {
  readonly #conv: { readonly weight: Tensor; readonly bias: Tensor };
  readonly #fc1: Affine;
  readonly #fc2: Affine;
  readonly #gamma: Tensor;
  readonly #name: string;

  /** @param gamma layer scale γ [C] of the branch */
  constructor(w: Weights, channels: number, ratio: number, gamma: Tensor, name: string) {
    this.#name = name;
    this.#conv = convBn(w.at("conv"), channels, 7);
    this.#fc1 = pointwiseWeights(w.at("fc1"), channels, ratio * channels);
    this.#fc2 = pointwiseWeights(w.at("fc2"), ratio * channels, channels);
    this.#gamma = gamma;
  }

  /** [B, H, W, C] → [B, H, W, C]: x + γ · ffn(x) */
  forward(x: Tensor): Tensor {
    const { gpu } = x;
    const mixed = gpu.mark(
      `${this.#name}.conv`,
      depthwiseConv2d(x, this.#conv.weight, { bias: this.#conv.bias, stride: 1 }),
    );
    const hidden = linear(mixed, this.#fc1.weight, { bias: this.#fc1.bias, activation: "gelu" }); // [B, H, W, 4C]
    gpu.mark(`${this.#name}.act`, hidden);
    return linear(hidden, this.#fc2.weight, { bias: this.#fc2.bias, scale: this.#gamma, residual: x });
  }
}

export interface Affine {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** Weight and bias of a 1×1 convolution stored as [O, I, 1, 1]. */
export function pointwiseWeights(w: Weights, inputs: number, outputs: number): Affine {
  return {
    weight: w.tensor("weight", [outputs, inputs, 1, 1], { as: [outputs, inputs] }),
    bias: w.tensor("bias", [outputs], { dtype: "f32" }),
  };
}

/** Layer scale γ, stored as [C, 1, 1]. */
export function layerScale(w: Weights, name: string, channels: number): Tensor {
  return w.tensor(name, [channels, 1, 1], { as: [channels], dtype: "f32" });
}
