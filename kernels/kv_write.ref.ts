import { defineSuite, f32 } from "./case.ts";
import { kvWrite } from "./kv_write.ts";

interface Case {
  readonly T: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly start: number;
  readonly capacity: number;
  /** Rows of qkv, when only `T` of them from `row` on belong to this cache. */
  readonly rows?: number;
  readonly row?: number;
  /** Which of the two caches is compared. */
  readonly part: "keys" | "values";
}

/** The cache afterwards, rows outside start…start + T as they were. */
export function kvWriteRef(qkv: ArrayLike<number>, cache: ArrayLike<number>, c: Case): Float64Array {
  const width = c.kvHeads * c.headDim;
  const first = c.heads * c.headDim + (c.part === "values" ? width : 0);
  const result = Float64Array.from(cache);
  const row = c.row ?? 0;
  for (let t = 0; t < c.T; t++) {
    for (let i = 0; i < width; i++) {
      result[(c.start + t) * width + i] = qkv[(row + t) * (c.heads * c.headDim + 2 * width) + first + i]!;
    }
  }
  return result;
}

const shapes = [
  { T: 1, heads: 40, kvHeads: 10, headDim: 128, start: 5, capacity: 8 }, // decode, Phi-4
  { T: 33, heads: 14, kvHeads: 2, headDim: 64, start: 0, capacity: 40 }, // prefill, Qwen2-0.5B
  { T: 3, heads: 1, kvHeads: 1, headDim: 3, start: 2, capacity: 5 }, // fills the cache to the last row
  { T: 2, rows: 7, row: 4, heads: 6, kvHeads: 2, headDim: 16, start: 3, capacity: 9 }, // part of a batch
];

export default defineSuite<Case>({
  name: "kv_write",
  cases: shapes.flatMap((shape) => [
    { ...shape, part: "keys" },
    { ...shape, part: "values" },
  ]),
  inputs: ({ T, rows = T, heads, kvHeads, headDim, capacity }, random) => ({
    qkv: f32(random([rows, (heads + 2 * kvHeads) * headDim])), // f32 activations also go into an f16 cache
    keys: random([capacity, kvHeads * headDim]),
    values: random([capacity, kvHeads * headDim]),
  }),
  run: ({ qkv, keys, values }, c) => {
    kvWrite(qkv!, keys!, values!, { ...c, tokens: c.T });
    return c.part === "keys" ? keys! : values!;
  },
  reference: ({ qkv, keys, values }, c) => kvWriteRef(qkv!, c.part === "keys" ? keys! : values!, c),
  tolerance: { f32: 0, f16: 1e-6 },
  bytes: ({ T, kvHeads, headDim }, element) => 2 * T * kvHeads * headDim * (4 + element),
});
