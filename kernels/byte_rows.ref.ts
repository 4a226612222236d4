import { GROUP } from "../src/tensor/quantized.ts";
import { type ByteOrder, byteRows } from "./byte_rows.ts";
import { defineSuite, type HostTensor } from "./case.ts";

/** Which of 8 inputs the bytes of two words are, from the low one up. */
const ORDERS: Readonly<Record<ByteOrder, readonly number[]>> = {
  plain: [0, 1, 2, 3, 4, 5, 6, 7],
  "even-odd": [0, 2, 4, 6, 1, 3, 5, 7],
};

/** Half to even, as WGSL rounds. */
const round = (v: number): number => (v % 1 === 0.5 || v % 1 === -0.5 ? 2 * Math.round(v / 2) : Math.round(v));

/** A group whose largest number is less counts as zeros. */
const LEAST = Math.fround(1e-30);

/** Codes in the order of the inputs, and the scale of each group of 32. */
export function bytesRef(x: ArrayLike<number>): { codes: Int8Array; scales: Float32Array } {
  const codes = new Int8Array(x.length);
  const scales = new Float32Array(x.length / GROUP);
  for (let g = 0; g < scales.length; g++) {
    let most = 0;
    for (let c = 0; c < GROUP; c++) most = Math.max(most, Math.abs(x[g * GROUP + c]!));
    if (most < LEAST) continue;
    scales[g] = most * Math.fround(1 / 127);
    for (let c = 0; c < GROUP; c++) codes[g * GROUP + c] = round((x[g * GROUP + c]! / most) * 127);
  }
  return { codes, scales };
}

export function byteRowsRef(x: ArrayLike<number>, order: ByteOrder): { codes: Uint32Array; scales: Float32Array } {
  const bytes = bytesRef(x);
  const codes = new Uint32Array(x.length / 4);
  const scales = new Float32Array((x.length / GROUP) * 2);
  for (let i = 0; i < x.length; i++) {
    const byte = bytes.codes[i - (i % 8) + ORDERS[order][i % 8]!]! & 255;
    codes[i >> 2]! |= byte << (8 * (i % 4));
  }
  for (const [g, scale] of bytes.scales.entries()) {
    const sum = bytes.codes.subarray(g * GROUP, (g + 1) * GROUP).reduce((total, code) => total + code, 0);
    scales.set([scale, scale * sum], 2 * g);
  }
  return { codes, scales };
}

/**
 * Numbers at least 0.2 of a step from where a code becomes the next: GPUs divide with errors of a few units in the last place, and
 * a code on the edge may come out one off. That far, halfs stay clear of it as well.
 */
export function clearOfEdges(x: HostTensor): HostTensor {
  const data = Float32Array.from(x.data);
  const { codes, scales } = bytesRef(data);
  for (const [i, v] of data.entries()) {
    const nearest = codes[i]! * scales[Math.floor(i / GROUP)]!;
    data[i] = nearest + (v - nearest) * 0.6;
  }
  return { ...x, data };
}

interface Case {
  readonly rows: number;
  readonly dim: number;
  readonly order: ByteOrder;
  /** Which of the two results is compared. */
  readonly result: "codes" | "scales";
  /** Rows are multiplied by powers of it. */
  readonly growth?: number;
  /** The first input of each third group is as many times as large as the rest. */
  readonly outlier?: number;
}

const SHAPES: readonly Omit<Case, "result" | "order">[] = [
  { rows: 17, dim: 4864 }, // inputs of a down projection, Qwen2-0.5B
  { rows: 5, dim: 896, growth: 4 },
  { rows: 2, dim: 288, outlier: 2000 },
  { rows: 1, dim: 32 },
  { rows: 1, dim: 544 }, // one group past a workgroup
  { rows: 3, dim: 96, growth: 0 }, // zeros, after a row of something else
  { rows: 5, dim: 96, growth: 1e-9 }, // the last of which count as zeros
];

export default defineSuite<Case>({
  name: "byte_rows",
  cases: SHAPES.flatMap((c) =>
    (["plain", "even-odd"] as const).flatMap((order) =>
      (["codes", "scales"] as const).map((result): Case => ({ ...c, order, result })),
    ),
  ),
  inputs({ rows, dim, growth = 1, outlier = 1 }, random) {
    const x = random([rows, dim]);
    const factor = (i: number): number => growth ** Math.floor(i / dim) * (i % (3 * GROUP) === 0 ? outlier : 1);
    return { x: clearOfEdges({ ...x, data: Float32Array.from(x.data, (v, i) => v * factor(i)) }) };
  },
  run: ({ x }, { order, result }) => byteRows(x!, order)[result],
  reference: ({ x }, { order, result }) => byteRowsRef(x!, order)[result],
  // Scales are products of two numbers, which every GPU rounds alike.
  tolerance: { f32: 0, f16: 0 },
  bytes: ({ rows, dim }, element) => rows * dim * (element + 1.25),
  supports: ({ adapter }) => adapter.packedDot,
});
