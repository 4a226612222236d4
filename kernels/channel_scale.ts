import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "channel_scale",
  source: new URL("../shaders/channel_scale.wgsl", import.meta.url),
  buffers: { x: "read", gate: "read", y: "write" },
  params: { size: "u32", image: "u32", channels: "u32" },
  overrides: ["GELU"],
});

const WORKGROUP_SIZE = 64;

/**
 * Multiplies every channel of an image by its own factor, then optionally applies GELU (the exact one, by erf).
 *
 * @param x                   [B, H, W, C]
 * @param gate                [B, C]
 * @param options.activation  default none
 * @returns                   [B, H, W, C], element type of `x`
 * @throws ShapeError when `gate` is not [B, C]
 */
export function channelScale(x: Tensor, gate: Tensor, options: { readonly activation?: "gelu" } = {}): Tensor {
  const { B, H, W, C } = x.dims("B H W C");
  expectShape("channel_scale: gate", gate, [B, C]);
  const y = x.like();
  kernel.run(
    { x, gate, y },
    { size: x.size, image: H * W * C, channels: C },
    { workgroups: Math.ceil(x.size / WORKGROUP_SIZE), overrides: { GELU: options.activation === "gelu" } },
  );
  return y;
}
