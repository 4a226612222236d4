import { defineSuite, f32 } from "./case.ts";
import { ropeInPlace } from "./rope.ts";

interface Case {
  readonly T: number;
  readonly heads: number;
  readonly columns: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly start: number;
  /** Rows of x, when only `T` of them from `row` on are rotated. */
  readonly rows?: number;
  readonly row?: number;
}

export function ropeRef(x: ArrayLike<number>, table: ArrayLike<number>, c: Case): Float64Array {
  const y = Float64Array.from(x);
  const half = c.rotaryDim / 2;
  const row = c.row ?? 0;
  for (let t = 0; t < c.T; t++) {
    for (let head = 0; head < c.heads; head++) {
      for (let i = 0; i < half; i++) {
        const at = (row + t) * c.columns + head * c.headDim + i;
        const cos = table[(c.start + t) * c.rotaryDim + i]!;
        const sin = table[(c.start + t) * c.rotaryDim + half + i]!;
        y[at] = x[at]! * cos - x[at + half]! * sin;
        y[at + half] = x[at + half]! * cos + x[at]! * sin;
      }
    }
  }
  return y;
}

export default defineSuite<Case>({
  name: "rope",
  cases: [
    { T: 1, heads: 50, columns: 60 * 128, headDim: 128, rotaryDim: 128, start: 40 }, // decode, Phi-4
    { T: 9, heads: 32, columns: 40 * 128, headDim: 128, rotaryDim: 96, start: 3 }, // Phi-4-mini: part of each head
    { T: 70, heads: 16, columns: 18 * 64, headDim: 64, rotaryDim: 64, start: 0 }, // prefill, Qwen2-0.5B
    { T: 2, heads: 1, columns: 5, headDim: 4, rotaryDim: 2, start: 1 }, // a single pair
    { T: 1, rows: 5, row: 3, heads: 16, columns: 18 * 64, headDim: 64, rotaryDim: 64, start: 40 }, // one of a batch
  ],
  inputs: ({ T, rows = T, columns, rotaryDim, start }, random) => ({
    x: random([rows, columns]),
    table: f32(random([start + T + 1, rotaryDim])),
  }),
  run: ({ x, table }, { T: tokens, ...options }) => {
    ropeInPlace(x!, table!, { ...options, tokens });
    return x!;
  },
  reference: ({ x, table }, c) => ropeRef(x!, table!, c),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ T, heads, rotaryDim }, element) => 2 * T * heads * rotaryDim * element,
});
