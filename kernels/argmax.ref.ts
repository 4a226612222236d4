import { type ArgmaxVariant, argmaxBy } from "./argmax.ts";
import { defineSuite } from "./case.ts";

export function argmaxRef(x: ArrayLike<number>, rows: number, dim: number, limit: number): Uint32Array {
  return Uint32Array.from({ length: rows }, (_, row) => {
    let best = -1;
    for (let c = 0; c < limit; c++) {
      const value = x[row * dim + c]!;
      if (!Number.isNaN(value) && (best < 0 || value > x[row * dim + best]!)) best = c;
    }
    return Math.max(best, 0);
  });
}

interface Case {
  readonly variant: ArgmaxVariant;
  readonly rows: number;
  readonly dim: number;
  readonly limit?: number;
  /** Values that replace the random ones in front of every row. */
  readonly head?: readonly number[];
  /** The value of the first `count` elements of every row. */
  readonly same?: { readonly value: number; readonly count: number };
}

const { NaN: nan, NEGATIVE_INFINITY: low, POSITIVE_INFINITY: high } = Number;

const SHAPES: readonly Omit<Case, "variant">[] = [
  { rows: 1, dim: 151936 }, // vocabulary of Qwen2
  { rows: 3, dim: 451, limit: 96 }, // the outlier at 96 does not count
  { rows: 2, dim: 1 },
  { rows: 4, dim: 300, head: [1, 50, 2, 50, 50] }, // ties
  { rows: 2, dim: 4, head: [nan, -3, nan, -2] },
  { rows: 2, dim: 3, head: [low, nan, low] },
  { rows: 2, dim: 3, head: [-5, high, high] },
  { rows: 1, dim: 2, head: [nan, nan] },
  { rows: 1, dim: 3, head: [low, low, -65504] },
];

/** Several parts: of which the last is short, that are past the limit, that tie, and whose elements never win. */
const PARTS: readonly Omit<Case, "variant">[] = [
  { rows: 3, dim: 9001 },
  { rows: 2, dim: 9001, limit: 2000 },
  { rows: 2, dim: 3000, same: { value: 7, count: 3000 } },
  { rows: 2, dim: 3000, same: { value: nan, count: 2500 } },
];

export default defineSuite<Case>({
  name: "argmax",
  cases: [
    ...SHAPES.map((c): Case => ({ ...c, variant: "one" })),
    ...[...SHAPES, ...PARTS].map((c): Case => ({ ...c, variant: "two" })),
  ],
  inputs: ({ rows, dim, head = [], same }, random) => {
    const { shape, data } = random([rows, dim]);
    for (let row = 0; row < rows; row++) {
      data.set(head, row * dim);
      if (same) data.fill(same.value, row * dim, row * dim + same.count);
    }
    return { x: { shape, data } };
  },
  run: ({ x }, { variant, limit }) => argmaxBy(variant, x!, limit),
  reference: ({ x }, { rows, dim, limit = dim }) => argmaxRef(x!, rows, dim, limit),
  tolerance: { f32: 0, f16: 0 },
  bytes: ({ rows, dim }, element) => rows * dim * element,
});
