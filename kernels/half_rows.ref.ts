import { defineSuite } from "./case.ts";
import { halfRows } from "./half_rows.ts";

export function halfRowsRef(x: ArrayLike<number>, rows: number): { y: Float64Array; factor: Float64Array } {
  const C = x.length / rows;
  const y = new Float64Array(x.length);
  const factor = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let most = 0;
    for (let c = 0; c < C; c++) most = Math.max(most, Math.abs(x[r * C + c]!));
    factor[r] = 2 ** (Math.max(-112, Math.floor(Math.log2(most))) - 14);
    for (let c = 0; c < C; c++) y[r * C + c] = x[r * C + c]! / factor[r]!;
  }
  return { y, factor };
}

interface Case {
  readonly rows: number;
  readonly dim: number;
  /** Which of the two results is compared. */
  readonly result: "rows" | "factor";
  /** The rows are multiplied by powers of it. */
  readonly growth?: number;
}

const SHAPES: readonly Omit<Case, "result">[] = [
  { rows: 17, dim: 4864 }, // inputs of a down projection, Qwen2-0.5B
  { rows: 5, dim: 896, growth: 1e6 }, // past the largest f16
  { rows: 9, dim: 36, growth: 1e-6 }, // and below the smallest
  { rows: 3, dim: 4, growth: 0 }, // zeros
  { rows: 1, dim: 516 }, // one vector past a workgroup
];

export default defineSuite<Case>({
  name: "half_rows",
  cases: SHAPES.flatMap((c) => (["rows", "factor"] as const).map((result): Case => ({ ...c, result }))),
  inputs({ rows, dim, growth = 1 }, random) {
    const x = random([rows, dim]);
    const data = Float32Array.from(x.data, (v, i) => v * growth ** Math.floor(i / dim));
    return { x: { ...x, data, dtype: "f32" } };
  },
  run: ({ x }, { result }) => halfRows(x!)[result]!,
  reference: ({ x }, { rows, result }) => {
    const { y, factor } = halfRowsRef(x!, rows);
    return result === "rows" ? y : factor;
  },
  tolerance: { f32: 1e-6, f16: 1e-6 },
  bytes: ({ rows, dim }) => rows * dim * 6,
  supports: ({ adapter }) => adapter.f16,
});
