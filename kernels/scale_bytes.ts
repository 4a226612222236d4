import { defineKernel } from "../src/gpu/kernel.ts";
import { type Shape, sizeOf } from "../src/tensor/shape.ts";
import { BYTES, expectDType, expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { rowChunks } from "./chunks.ts";

const kernel = defineKernel({
  name: "scale_bytes",
  source: new URL("../shaders/scale_bytes.wgsl", import.meta.url),
  buffers: { bytes: "read", y: "write" },
  params: { size: "u32" },
  overrides: ["MANTISSA_BITS"],
});

const WORKGROUP_SIZE = 64;
const MANTISSA_BITS = { f32: 24, f16: 11 } as const;
/** Elements between possible cuts: whole words, at offsets that can be bound. */
const CUT = 1024;

/**
 * Bytes as numbers between 0 and 1: `byte / 255`, rounded to the nearest, on every adapter.
 *
 * @param bytes  u32 [⌈size / 4⌉], 4 bytes per word, lowest byte first
 * @param shape  of the result, whose size says how many bytes there are
 * @throws ShapeError when `bytes` has another length
 */
export function scaleBytes(bytes: Tensor, shape: Shape, dtype: "f32" | "f16"): Tensor {
  const { gpu } = bytes;
  const size = sizeOf(shape);
  expectDType("scale_bytes: bytes", bytes, "u32");
  expectShape("scale_bytes: bytes", bytes, [Math.ceil(size / 4)]);
  const y = gpu.empty(shape, dtype);
  const flat = y.reshape([size]);
  for (const [from, to] of rowChunks(size, [BYTES[dtype]], gpu.maxBindingBytes, CUT)) {
    const part = { bytes: bytes.rows(from / 4, Math.ceil(to / 4)), y: flat.rows(from, to) };
    const overrides = { MANTISSA_BITS: MANTISSA_BITS[dtype] };
    kernel.run(part, { size: to - from }, { workgroups: Math.ceil((to - from) / 4 / WORKGROUP_SIZE), overrides });
  }
  return y;
}
