import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "channel_mean",
  source: new URL("../shaders/channel_mean.wgsl", import.meta.url),
  buffers: { x: "read", y: "write" },
  params: { images: "u32", pixels: "u32", channels: "u32" },
});

const WORKGROUP_SIZE = 64;

/**
 * Mean of every channel over the map: the "squeeze" of squeeze-and-excitation (arXiv 1709.01507).
 *
 * @param x  [B, H, W, C]
 * @returns  f32 [B, C]
 */
export function channelMean(x: Tensor): Tensor {
  const { B, H, W, C } = x.dims("B H W C");
  const y = x.gpu.empty([B, C], "f32");
  const params = { images: B, pixels: H * W, channels: C };
  kernel.run({ x, y }, params, { workgroups: Math.ceil((B * C) / WORKGROUP_SIZE) });
  return y;
}
