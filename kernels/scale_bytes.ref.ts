import { fromHalf, toHalf } from "../src/tensor/half.ts";
import { defineSuite, u32 } from "./case.ts";
import { scaleBytes } from "./scale_bytes.ts";

interface Case {
  readonly size: number;
  readonly dtype: "f32" | "f16";
}

export const scaleBytesRef = (words: ArrayLike<number>, { size, dtype }: Case): Float64Array =>
  Float64Array.from({ length: size }, (_, i) => {
    const scaled = ((words[i >> 2]! >>> (8 * (i % 4))) & 255) / 255;
    return dtype === "f16" ? fromHalf(toHalf(scaled)) : Math.fround(scaled);
  });

export default defineSuite<Case>({
  name: "scale_bytes",
  cases: (["f32", "f16"] as const).flatMap((dtype) => [
    { size: 256, dtype }, // every byte
    { size: 3 * 256 * 256, dtype }, // a picture
    { size: 7, dtype }, // a last word in part
    { size: 257, dtype },
    { size: 1, dtype },
  ]),
  inputs({ size }) {
    const bytes = Uint8Array.from({ length: Math.ceil(size / 4) * 4 }, (_, i) => i);
    return { bytes: u32([bytes.length / 4], new Uint32Array(bytes.buffer)) };
  },
  run: ({ bytes }, { size, dtype }) => scaleBytes(bytes!, [size], dtype),
  reference: ({ bytes }, c) => scaleBytesRef(bytes!, c),
  tolerance: { f32: 0, f16: 0 }, // the nearest number is one
  bytes: ({ size, dtype }) => size * (dtype === "f16" ? 3 : 5),
  supports: (gpu, { dtype }) => dtype === "f32" || gpu.adapter.f16,
});
