import { scaleBytes } from "../../kernels/scale_bytes.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { toHalfArray } from "../tensor/half.ts";
import { type Shape, sizeOf } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** RGB bytes 0 … 255 → pixels in [0, 1], `shape` being [B, H, W, 3]. Values between bytes are scaled as they are. */
export function uploadPixels(gpu: Gpu, bytes: ArrayLike<number>, shape: Shape, dtype: "f32" | "f16"): Tensor {
  if (!(bytes instanceof Uint8Array)) {
    const scaled = Float32Array.from(bytes, (value) => value / 255);
    return gpu.upload(shape, dtype, dtype === "f16" ? toHalfArray(scaled) : scaled);
  }
  return gpu.scope(() => {
    const words = gpu.empty([Math.ceil(sizeOf(shape) / 4)], "u32");
    writeBytes(words, bytes);
    return scaleBytes(words, shape, dtype);
  });
}

/** Puts bytes into words, lowest first. */
export function writeBytes(words: Tensor, bytes: Uint8Array): void {
  const data = bytes as Uint8Array<ArrayBuffer>;
  const whole = data.length - (data.length % 4);
  if (whole > 0) words.gpu.write(words, 0, data.subarray(0, whole));
  if (whole === data.length) return;
  const rest = new Uint8Array(4);
  rest.set(data.subarray(whole));
  words.gpu.write(words, whole, rest);
}
