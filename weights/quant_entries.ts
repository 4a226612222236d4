import { GROUP, type QuantFormat } from "../src/tensor/quantized.ts";
import { type Shape, sizeOf } from "../src/tensor/shape.ts";
import { companions } from "./quant_load.ts";
import { STORED_BYTES, type StoredDType, type StoredTensor } from "./safetensors.ts";

/** A tensor to be written: what a header says of it, but for its place. */
export interface Entry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: Shape;
}

/** What a stored matrix of numbers becomes in a file: codes and what goes with them; itself when it has no format. */
export function entriesOf({ name, dtype, shape }: Entry | StoredTensor, format: QuantFormat | undefined): Entry[] {
  if (!format) return [{ name, dtype, shape }];
  const [O = 0, C = 0] = shape;
  const { scales, offsets } = companions(name);
  const half = { dtype: "F16", shape: [O, C / GROUP] } as const;
  return [
    format === "int8" ? { name, dtype: "I8", shape } : { name, dtype: "U32", shape: [O, C / 8] },
    { name: scales, ...half },
    ...(format === "int4-affine" ? [{ name: offsets, ...half }] : []),
  ];
}

/** Bytes per element first, as the reference writer orders them, so that each tensor lies at a multiple of its element size. */
export const byWidth = (a: Entry, b: Entry): number =>
  STORED_BYTES[b.dtype] - STORED_BYTES[a.dtype] || (a.name < b.name ? -1 : 1);

export const bytesOf = ({ dtype, shape }: Entry): number => sizeOf(shape) * STORED_BYTES[dtype];
