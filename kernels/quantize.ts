import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { GROUP, type QuantizedTensor } from "../src/tensor/quantized.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { FLOAT_BYTES, type FloatDType } from "../weights/convert.ts";
import { FORMATS } from "./quant_formats.ts";

const kernel = defineKernel({
  name: "quantize",
  source: new URL("../shaders/quantize.wgsl", import.meta.url),
  buffers: { source: "read", codes: "update", scales: "update" },
  params: { rows: "u32", inputs: "u32", first: "u32", groups: "u32" },
  overrides: ["WORKGROUP_SIZE", "FORMAT", "SOURCE"],
});

const SOURCES = { F32: 0, F16: 1, BF16: 2 } as const;
const WORKGROUP_SIZE = 64;
/** Outputs whose scales begin at a multiple of 256 bytes. */
const ALIGNED = 64;

/**
 * Rounds rows of numbers to codes, into outputs `first` and on of a quantised matrix. Other outputs keep what they have.
 *
 * @param source  whole rows as they are stored, of any element type: `bytes` / (C · element size) of them
 * @param stored  what the bytes of `source` are
 * @param matrix  [O, C], O ≥ first + rows
 * @throws ShapeError when `source` is not whole rows, or too many
 */
export function quantizeRows(source: Tensor, stored: FloatDType, matrix: QuantizedTensor, first = 0): void {
  const [O, inputs] = matrix.shape;
  const rows = source.bytes / (inputs * FLOAT_BYTES[stored]);
  if (!Number.isInteger(rows) || first + rows > O) {
    throw new ShapeError(`quantize: expected at most ${O - first} whole rows of ${inputs}, got ${rows}`);
  }
  // Only the blocks these rows are in, from an offset that can be bound: a whole matrix may be too large.
  const from = Math.floor(first / ALIGNED) * ALIGNED;
  const { codes, scales, format } = matrix.rows(from, first + rows);
  const pairs = Math.ceil(inputs / GROUP / 2);
  kernel.run(
    { source, codes, scales },
    { rows, inputs, first: first - from, groups: 2 * pairs },
    {
      workgroups: Math.ceil((rows * pairs) / WORKGROUP_SIZE),
      overrides: { FORMAT: FORMATS[format], SOURCE: SOURCES[stored] },
    },
  );
}
