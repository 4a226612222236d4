import { defineSuite, f32 } from "./case.ts";
import { type RotaryLayout, ropeAndCache } from "./rope_kv.ts";

interface Case extends RotaryLayout {
  readonly tokens: number;
  readonly capacity: number;
  /** Rows of qkv, when only `tokens` of them from `row` on belong to this sequence. */
  readonly rows?: number;
  /** Which of the three results is compared. */
  readonly part: "queries" | "keys" | "values";
}

/** The rows of qkv, with all that belongs to the sequence rotated: queries and keys, not values. */
export function ropeRef(
  qkv: ArrayLike<number>,
  table: ArrayLike<number>,
  c: RotaryLayout & { tokens: number },
): Float64Array {
  const y = Float64Array.from(qkv);
  const half = c.rotaryDim / 2;
  const columns = (c.heads + 2 * c.kvHeads) * c.headDim;
  for (let t = 0; t < c.tokens; t++) {
    for (let head = 0; head < c.heads + c.kvHeads; head++) {
      for (let i = 0; i < half; i++) {
        const at = ((c.row ?? 0) + t) * columns + head * c.headDim + i;
        const cos = table[(c.start + t) * c.rotaryDim + i]!;
        const sin = table[(c.start + t) * c.rotaryDim + half + i]!;
        y[at] = qkv[at]! * cos - qkv[at + half]! * sin;
        y[at + half] = qkv[at + half]! * cos + qkv[at]! * sin;
      }
    }
  }
  return y;
}

/** What the three tensors hold afterwards; rows that are not this sequence's, and keys and values in qkv, as they were. */
function expected(qkv: ArrayLike<number>, table: ArrayLike<number>, cache: ArrayLike<number>, c: Case): Float64Array {
  const rotated = ropeRef(qkv, table, c);
  const columns = (c.heads + 2 * c.kvHeads) * c.headDim;
  const width = c.kvHeads * c.headDim;
  const row = c.row ?? 0;
  if (c.part === "queries") return rotated.map((value, i) => (i % columns < c.heads * c.headDim ? value : qkv[i]!));
  const first = c.heads * c.headDim + (c.part === "values" ? width : 0);
  const result = Float64Array.from(cache);
  for (let t = 0; t < c.tokens; t++) {
    for (let i = 0; i < width; i++) result[(c.start + t) * width + i] = rotated[(row + t) * columns + first + i]!;
  }
  return result;
}

const SHAPES: readonly Omit<Case, "part">[] = [
  { tokens: 1, heads: 40, kvHeads: 10, headDim: 128, rotaryDim: 128, start: 5, capacity: 8 }, // decode, Phi-4
  { tokens: 9, heads: 24, kvHeads: 8, headDim: 128, rotaryDim: 96, start: 3, capacity: 12 }, // Phi-4-mini: part of each head
  { tokens: 33, heads: 14, kvHeads: 2, headDim: 64, rotaryDim: 64, start: 0, capacity: 40 }, // prefill, Qwen2-0.5B
  { tokens: 3, heads: 1, kvHeads: 1, headDim: 3, rotaryDim: 2, start: 2, capacity: 5 }, // one pair; fills the cache
  { tokens: 2, rows: 7, row: 4, heads: 6, kvHeads: 2, headDim: 16, rotaryDim: 16, start: 3, capacity: 9 }, // part of a batch
];

export default defineSuite<Case>({
  name: "rope_kv",
  cases: SHAPES.flatMap((shape) => (["queries", "keys", "values"] as const).map((part) => ({ ...shape, part }))),
  inputs: ({ tokens, rows = tokens, heads, kvHeads, headDim, rotaryDim, start, capacity }, random) => ({
    qkv: f32(random([rows, (heads + 2 * kvHeads) * headDim])), // f32 activations also go into an f16 cache
    table: f32(random([start + tokens + 1, rotaryDim])),
    keys: random([capacity, kvHeads * headDim]),
    values: random([capacity, kvHeads * headDim]),
  }),
  run({ qkv, table, keys, values }, c) {
    ropeAndCache(qkv!, table!, keys!, values!, c);
    return { queries: qkv!, keys: keys!, values: values! }[c.part];
  },
  reference: ({ qkv, table, keys, values }, c) => expected(qkv!, table!, c.part === "values" ? values! : keys!, c),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ tokens, heads, kvHeads, headDim }, element) => tokens * headDim * (8 * heads + 2 * kvHeads * (4 + element)),
});
