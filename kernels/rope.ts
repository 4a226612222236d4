import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "rope",
  source: new URL("../shaders/rope.wgsl", import.meta.url),
  buffers: { table: "read", x: "update" },
  params: { pairs: "u32", heads: "u32", head_dim: "u32", rotary_dim: "u32", columns: "u32", start: "u32", row: "u32" },
  overrides: ["WORKGROUP_SIZE"],
});

export interface RopeOptions {
  /** Heads to rotate, from the first column on. */
  readonly heads: number;
  readonly headDim: number;
  /** Leading elements of each head that are rotated; the rest pass through. */
  readonly rotaryDim: number;
  /** Position of the first row. */
  readonly start: number;
  /** First row to rotate. Default 0 */
  readonly row?: number | undefined;
  /** Rows to rotate. Default: all from `row` on */
  readonly tokens?: number | undefined;
}

/**
 * Rotary positions (arXiv 2104.09864) in place, pairs (i, i + r/2).
 *
 * @param x      [R, ≥ heads·headDim]; the packed projection has queries, then keys, then values in a row
 * @param table  [P, rotaryDim] f32: cosines, then sines, of each position (see `ropeTable`); P ≥ start + tokens
 */
export function ropeInPlace(x: Tensor, table: Tensor, options: RopeOptions): void {
  const { heads, headDim, rotaryDim, start, row = 0 } = options;
  const { R, columns } = x.dims("R columns");
  const { tokens: T = R - row } = options;
  const { P, r } = table.dims("P r");
  if (r !== rotaryDim || P < start + T) {
    throw new ShapeError(`rope: table: expected at least [${start + T}, ${rotaryDim}], got [${P}, ${r}]`);
  }
  if (columns < heads * headDim)
    throw new ShapeError(`rope: x: expected at least ${heads * headDim} columns, got ${columns}`);
  if (row + T > R) throw new ShapeError(`rope: x: expected at least ${row + T} rows, got ${R}`);
  const pairs = (T * heads * rotaryDim) / 2;
  const params = { pairs, heads, head_dim: headDim, rotary_dim: rotaryDim, columns, start, row };
  kernel.run({ table, x }, params, { workgroups: Math.ceil(pairs / 64) });
}
