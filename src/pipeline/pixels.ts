import type { Gpu } from "../gpu/gpu.ts";
import { toHalfArray } from "../tensor/half.ts";
import type { Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Every value a byte stands for, as f32 and as the bits of an f16. */
const SCALED = Float32Array.from({ length: 256 }, (_, byte) => byte / 255);
const SCALED_HALF = toHalfArray(SCALED);

/** RGB bytes 0 … 255 → pixels in [0, 1], `shape` being [B, H, W, 3]. Values between bytes are scaled as they are. */
export function uploadPixels(gpu: Gpu, bytes: ArrayLike<number>, shape: Shape, dtype: "f32" | "f16"): Tensor {
  if (!(bytes instanceof Uint8Array)) {
    const scaled = Float32Array.from(bytes, (value) => value / 255);
    return gpu.upload(shape, dtype, dtype === "f16" ? toHalfArray(scaled) : scaled);
  }
  const table = dtype === "f16" ? SCALED_HALF : SCALED;
  const scaled = dtype === "f16" ? new Uint16Array(bytes.length) : new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) scaled[i] = table[bytes[i]!]!;
  return gpu.upload(shape, dtype, scaled);
}
