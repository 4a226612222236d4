import type { Gpu } from "../gpu/gpu.ts";
import { toHalfArray } from "../tensor/half.ts";
import type { Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** RGB bytes 0 … 255 → pixels in [0, 1], `shape` being [B, H, W, 3] */
export function uploadPixels(gpu: Gpu, bytes: ArrayLike<number>, shape: Shape, dtype: "f32" | "f16"): Tensor {
  const scaled = Float32Array.from(bytes, (value) => value / 255);
  return gpu.upload(shape, dtype, dtype === "f16" ? toHalfArray(scaled) : scaled);
}
