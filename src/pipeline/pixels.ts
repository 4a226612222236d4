import { scaleBytes } from "../../kernels/scale_bytes.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Square } from "./picture.ts";

/** Pictures of one size → pixels in [0, 1], [B, side, side, 3] */
export function pixelsOf(gpu: Gpu, squares: readonly Square[], side: number, dtype: "f32" | "f16"): Tensor {
  const shape = [squares.length, side, side, 3];
  const [first] = squares;
  if (squares.length === 1 && first instanceof Tensor) return scaleBytes(first, shape, dtype);
  return gpu.scope(() => {
    const each = (side * side * 3) / 4;
    const words = gpu.empty([squares.length * each], "u32");
    for (const [i, square] of squares.entries()) {
      const own = words.rows(i * each, (i + 1) * each);
      if (square instanceof Tensor) gpu.copy(square, own);
      else writeBytes(own, square);
    }
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
