import { selfAttention } from "../../../kernels/attention.ts";
import { channelMean } from "../../../kernels/channel_mean.ts";
import { channelScale } from "../../../kernels/channel_scale.ts";
import { layerNorm } from "../../../kernels/layer_norm.ts";
import { linear } from "../../../kernels/linear.ts";
import type { Weights } from "../../../weights/weights.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { FastViTHDConfig } from "./config.ts";
import { type Affine, ConvFfn, DepthwiseConv, layerScale, PointwiseConv, pointwiseWeights } from "./layers.ts";

const LAYER_NORM_EPS = 1e-5;

/**
 * RepMixer block, FastViT §3.1 (arXiv 2303.14189), reparameterised:
 *
 *     x ← mix(x)               3×3 depthwise conv, mixes neighbouring positions; its skip is folded into the kernel
 *     x ← x + γ · ffn(x)       mixes channels
 */
export class RepMixerBlock {
  readonly #mix: DepthwiseConv;
  readonly #ffn: ConvFfn;
  readonly #name: string;

  constructor(w: Weights, channels: number, { mlpRatio }: FastViTHDConfig, name: string) {
    this.#name = name;
    this.#mix = new DepthwiseConv(w.at("token_mixer"), "repmixer", channels, channels, { kernel: 3 });
    this.#ffn = new ConvFfn(
      w.at("mlp"),
      channels,
      mlpRatio,
      layerScale(w, "layer_scale.gamma", channels),
      `${name}.mlp`,
    );
  }

  /** [B, H, W, C] → [B, H, W, C] */
  forward(x: Tensor): Tensor {
    const mixed = x.gpu.mark(`${this.#name}.token_mixer`, this.#mix.forward(x));
    return x.gpu.mark(this.#name, this.#ffn.forward(mixed));
  }
}

/**
 * Attention block of stages 3 and 4:
 *
 *     x ← x + γ₁ · attention(norm(x))
 *     x ← x + γ₂ · ffn(x)
 */
export class AttentionBlock {
  readonly #norm: Affine;
  readonly #qkv: Tensor;
  readonly #proj: Affine;
  readonly #gamma: Tensor;
  readonly #ffn: ConvFfn;
  readonly #heads: number;
  readonly #name: string;

  constructor(w: Weights, channels: number, { mlpRatio, headDim }: FastViTHDConfig, name: string) {
    this.#name = name;
    this.#heads = channels / headDim;
    const norm = w.at("norm");
    this.#norm = {
      weight: norm.tensor("weight", [channels], { dtype: "f32" }),
      bias: norm.tensor("bias", [channels], { dtype: "f32" }),
    };
    const mixer = w.at("token_mixer");
    this.#qkv = mixer.tensor("qkv.weight", [3 * channels, channels]);
    this.#proj = {
      weight: mixer.tensor("proj.weight", [channels, channels]),
      bias: mixer.tensor("proj.bias", [channels], { dtype: "f32" }),
    };
    this.#gamma = layerScale(w, "layer_scale_1.gamma", channels);
    this.#ffn = new ConvFfn(
      w.at("mlp"),
      channels,
      mlpRatio,
      layerScale(w, "layer_scale_2.gamma", channels),
      `${name}.mlp`,
    );
  }

  /** [B, H, W, C] → [B, H, W, C] */
  forward(x: Tensor): Tensor {
    const { gpu } = x;
    const { B, H, W, C } = x.dims("B H W C");
    const normed = gpu.mark(`${this.#name}.norm`, layerNorm(x, this.#norm.weight, this.#norm.bias, LAYER_NORM_EPS));
    const qkv = linear(normed.reshape([B, H * W, C]), this.#qkv); // [B, H·W, 3C]
    const mixed = selfAttention(qkv, this.#heads).reshape([B, H, W, C]);
    const h = linear(mixed, this.#proj.weight, { bias: this.#proj.bias, scale: this.#gamma, residual: x });
    return gpu.mark(this.#name, this.#ffn.forward(h));
  }
}

/** Halves the map and widens it: 7×7 depthwise conv of stride 2, then 1×1, GELU after each. */
export class Downsample {
  readonly #large: DepthwiseConv;
  readonly #mix: PointwiseConv;
  readonly #name: string;

  constructor(w: Weights, inputs: number, outputs: number, name: string) {
    this.#name = name;
    this.#large = new DepthwiseConv(w.at("proj").at(0), "largekernel", inputs, outputs, {
      kernel: 7,
      stride: 2,
      activation: "gelu",
    });
    this.#mix = new PointwiseConv(w.at("proj").at(1), outputs, outputs);
  }

  /** [B, H, W, I] → [B, ⌈H/2⌉, ⌈W/2⌉, O] */
  forward(x: Tensor): Tensor {
    const large = x.gpu.mark(`${this.#name}.proj.0`, this.#large.forward(x));
    return x.gpu.mark(this.#name, this.#mix.forward(large));
  }
}

/** The last convolution: 3×3 depthwise, C → 2C, squeeze-excite (arXiv 1709.01507), GELU. */
export class FinalConv {
  readonly #conv: DepthwiseConv;
  readonly #squeeze: Affine;
  readonly #excite: Affine;
  readonly #name: string;

  constructor(w: Weights, inputs: number, outputs: number, name: string) {
    this.#name = name;
    this.#conv = new DepthwiseConv(w, "mobileone", inputs, outputs, { kernel: 3 });
    this.#squeeze = pointwiseWeights(w.at("se").at("fc1"), outputs, Math.trunc(outputs / 16));
    this.#excite = pointwiseWeights(w.at("se").at("fc2"), Math.trunc(outputs / 16), outputs);
  }

  /** [B, H, W, C] → [B, H, W, 2C] */
  forward(x: Tensor): Tensor {
    const { gpu } = x;
    const features = gpu.mark(`${this.#name}.reparam_conv`, this.#conv.forward(x));
    const squeezed = linear(channelMean(features), this.#squeeze.weight, {
      bias: this.#squeeze.bias,
      activation: "relu",
    });
    const gate = linear(squeezed, this.#excite.weight, { bias: this.#excite.bias, activation: "sigmoid" }); // [B, 2C]
    return gpu.mark(this.#name, channelScale(features, gate, { activation: "gelu" }));
  }
}
