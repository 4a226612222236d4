import { InputError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Connector } from "./connector.ts";
import type { Decoder } from "./decoder/decoder.ts";
import { type FastViTHD, TOTAL_STRIDE } from "./fastvithd/tower.ts";

/** Tower and connector: what turns pixels into image tokens. */
export interface Eye {
  readonly tower: FastViTHD;
  readonly connector: Connector;
}

/** FastVLM (arXiv 2412.13303): image encoder, connector and language model. Without an eye it reads text only. */
export class FastVLMModel {
  readonly gpu: Gpu;
  readonly decoder: Decoder;
  readonly eye: Eye | undefined;
  /** Element type of the tower's activations and of the KV cache. */
  readonly dtype: "f32" | "f16";

  constructor(gpu: Gpu, decoder: Decoder, eye: Eye | undefined, dtype: "f32" | "f16") {
    this.gpu = gpu;
    this.decoder = decoder;
    this.eye = eye;
    this.dtype = dtype;
  }

  /** Tokens that an image of height × width pixels becomes; `pool` as for `encode`. */
  imageTokens(height: number, width: number, pool?: number): number {
    const [h, w] = [Math.ceil(height / TOTAL_STRIDE), Math.ceil(width / TOTAL_STRIDE)];
    return this.#requireEye().connector.tokens(h, w, pool);
  }

  /**
   * Pixels in [0, 1] [B, H, W, 3] → image tokens f32 [B, N, D]
   *
   * @param pool side of the grid that features are averaged to, N = pool², such as for the frames of a video. Default: the
   *             checkpoint's own grid, or all features
   */
  encode(pixels: Tensor, pool?: number): Tensor {
    const { tower, connector } = this.#requireEye();
    return connector.forward(this.gpu.mark("vision.features", tower.forward(pixels)), pool);
  }

  /**
   * Embeds the prompt: text by the table, image slots by their tokens.
   *
   * @param ids    u32 [T], with any id at the positions of image tokens
   * @param slots  where the tokens of each image go
   * @returns      f32 [T, D]
   */
  splice(ids: Tensor, slots: readonly { readonly at: number; readonly tokens: Tensor }[]): Tensor {
    const x = this.decoder.embed(ids);
    for (const { at, tokens } of slots) this.gpu.copy(tokens, x.rows(at, at + tokens.shape[0]!));
    return x;
  }

  #requireEye(): Eye {
    if (!this.eye) {
      throw new InputError("this checkpoint reads text only: expected no image", {
        hint: "Load a FastVLM checkpoint, or add --vision and --projector.",
      });
    }
    return this.eye;
  }
}
