import { QUANT_FORMATS, type QuantFormat, QuantizedTensor } from "../src/tensor/quantized.ts";
import { dequantize, quantize } from "../weights/quant.ts";
import { defineSuite, u32 } from "./case.ts";
import { embedQuantized } from "./embed_quantized.ts";
import { quantizeRows } from "./quantize.ts";

interface Case {
  readonly format: QuantFormat;
  readonly outputs: number;
  readonly inputs: number;
  /** Rows are rounded in two runs, the second from this one on. */
  readonly cut?: number;
  /** The numbers come as bfloat16, as checkpoints have them. */
  readonly brain?: boolean;
}

/** Two bfloat16 in each word. */
const brains = (words: ArrayLike<number>): Float32Array =>
  new Float32Array(
    Uint32Array.from({ length: words.length * 2 }, (_, i) => {
      const word = words[i >> 1]!;
      return i % 2 === 0 ? word << 16 : word & 0xffff0000;
    }).buffer,
  );

export default defineSuite<Case>({
  name: "quantize",
  cases: [
    { format: "int4", outputs: 24, inputs: 896 }, // rows of Qwen2-0.5B
    { format: "int8", outputs: 16, inputs: 896 },
    ...QUANT_FORMATS.flatMap((format): Case[] => [
      { format, outputs: 13, inputs: 160, cut: 4 },
      { format, outputs: 150, inputs: 32, cut: 68 }, // the second run binds part of the matrix
      { format, outputs: 9, inputs: 32, brain: true },
    ]),
  ],
  inputs({ outputs, inputs, brain }, random) {
    const source = random([outputs, inputs]);
    const table = u32(
      [outputs],
      Array.from({ length: outputs }, (_, i) => i),
    );
    // A group of zeros has no scale.
    source.data.fill(0, 0, 32);
    if (!brain) return { source, table };
    const bits = new Uint32Array(source.data.buffer);
    const words = Uint32Array.from(
      { length: bits.length / 2 },
      (_, i) => (bits[2 * i]! >>> 16) | (bits[2 * i + 1]! & 0xffff0000),
    );
    return { source: u32([outputs, inputs / 2], words), table };
  },
  /** As numbers again: codes alone would hide a wrong scale, and a tie that rounds the other way is no error. */
  run({ source, table }, { format, outputs, inputs, cut = 0, brain }) {
    const matrix = QuantizedTensor.empty(source!.gpu, format, [outputs, inputs]);
    const stored = brain ? "BF16" : source!.dtype === "f16" ? "F16" : "F32";
    if (cut > 0) quantizeRows(source!.rows(0, cut), stored, matrix);
    quantizeRows(source!.rows(cut, outputs), stored, matrix, cut);
    return embedQuantized(table!, matrix, "f32");
  },
  reference: ({ source }, { format, brain }) =>
    dequantize(quantize(brain ? brains(source!) : (source as Float32Array), format), format),
  // For numbers just about halfway between two codes; rounding itself costs from 4e-5 (int8) to 1e-2.
  tolerance: { f32: 1e-5, f16: 1e-5 },
  bytes: ({ outputs, inputs, brain }, element) => outputs * inputs * ((brain ? 2 : element) + 0.5625),
});
