import type { Weights } from "../../../weights/weights.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { AttentionBlock, Downsample, FinalConv, RepMixerBlock } from "./blocks.ts";
import type { FastViTHDConfig } from "./config.ts";
import { DenseConv, DepthwiseConv, PointwiseConv } from "./layers.ts";

/** Pixels per side of the square that one feature sees: six convolutions of stride 2. */
export const TOTAL_STRIDE = 64;

/**
 * FastViTHD, the image encoder of FastVLM (arXiv 2412.13303): a convolutional stem, three RepMixer stages, two
 * attention stages, each stage half the resolution of the one before. Attribute names are timm's (`fastvit_mci3`).
 */
export class FastViTHD {
  readonly config: FastViTHDConfig;
  readonly #stem: readonly [DenseConv, DepthwiseConv, PointwiseConv];
  readonly #stages: readonly Stage[];
  readonly #final: FinalConv;

  constructor(w: Weights, config: FastViTHDConfig) {
    const { embedDims, layers } = config;
    const [first] = embedDims;
    this.config = config;
    this.#stem = [
      new DenseConv(w.at("stem").at(0), 3, first),
      new DepthwiseConv(w.at("stem").at(1), "mobileone", first, first, { kernel: 3, stride: 2, activation: "gelu" }),
      new PointwiseConv(w.at("stem").at(2), first, first),
    ];
    this.#stages = layers.map((_, i) => new Stage(w.at("stages").at(i), i, config, `vision.stages.${i}`));
    this.#final = new FinalConv(w.at("final_conv"), embedDims[4], config.outputChannels, "vision.final_conv");
  }

  /** Pixels in [0, 1] [B, H, W, 3] → features [B, ⌈H/64⌉, ⌈W/64⌉, 2·C₄] */
  forward(pixels: Tensor): Tensor {
    const { gpu } = pixels;
    return gpu.through(pixels, [
      ...this.#stem.map((conv, i) => (x: Tensor) => gpu.mark(`vision.stem.${i}`, conv.forward(x))),
      ...this.#stages.flatMap((stage) => stage.steps),
      (x) => this.#final.forward(x),
    ]);
  }
}

/** Downsample (but for the first stage), conditional positions (the attention stages), then blocks. */
class Stage {
  /** In order of application; each frees what it made but its result. */
  readonly steps: readonly ((x: Tensor) => Tensor)[];

  constructor(w: Weights, index: number, config: FastViTHDConfig, name: string) {
    const channels = config.embedDims[index]!;
    const attends = index >= 3;
    const steps: ((x: Tensor) => Tensor)[] = [];
    if (index > 0) {
      const downsample = new Downsample(
        w.at("downsample"),
        config.embedDims[index - 1]!,
        channels,
        `${name}.downsample`,
      );
      steps.push((x) => downsample.forward(x));
    }
    if (attends) {
      // Conditional positional encoding (arXiv 2102.10882); its skip is folded into the kernel.
      const positions = new DepthwiseConv(w.at("pos_emb"), "repcpe", channels, channels, { kernel: 7 });
      steps.push((x) => x.gpu.mark(`${name}.pos_emb`, positions.forward(x)));
    }
    for (let i = 0; i < config.layers[index]!; i++) {
      const at = w.at("blocks").at(i);
      const block = attends
        ? new AttentionBlock(at, channels, config, `${name}.blocks.${i}`)
        : new RepMixerBlock(at, channels, config, `${name}.blocks.${i}`);
      steps.push((x) => block.forward(x));
    }
    const last = steps.pop()!;
    this.steps = [...steps, (x) => x.gpu.mark(name, last(x))];
  }
}
