import { defineSuite, f32, type HostTensor } from "./case.ts";
import { causalAttentionRef } from "./causal_attention.ref.ts";
import { hasSubgroups } from "./lanes.ts";
import { ropeRef } from "./rope_kv.ref.ts";
import type { RotaryLayout } from "./rope_kv.ts";
import { type RotaryAttentionVariant, rotaryAttentionBy } from "./rotary_attention.ts";

interface Case extends RotaryLayout {
  readonly variant: RotaryAttentionVariant;
  /** Rows of qkv and y, when only `row` belongs to this sequence. */
  readonly rows?: number;
  /** Multiplies queries and keys: scores grow with its square. */
  readonly gain?: number;
  /** Which of the three results is compared. Default: the output */
  readonly part?: "keys" | "values";
}

const QWEN = { heads: 14, kvHeads: 2, headDim: 64, rotaryDim: 64 } as const;
const PHI = { heads: 24, kvHeads: 8, headDim: 128, rotaryDim: 96 } as const; // Phi-4-mini: part of each head is rotated

const CASES: readonly Case[] = [
  { variant: "two", ...QWEN, start: 309 },
  ...([undefined, "keys", "values"] as const).map((part): Case => {
    return { variant: "one", ...QWEN, start: 309, ...(part && { part }) };
  }),
  { variant: "one", ...PHI, start: 300 },
  { variant: "one", ...PHI, start: 3, part: "keys" },
  { variant: "one", heads: 3, kvHeads: 3, headDim: 24, rotaryDim: 10, start: 64 },
  { variant: "one", heads: 7, kvHeads: 1, headDim: 96, rotaryDim: 96, start: 63 },
  { variant: "one", heads: 4, kvHeads: 2, headDim: 16, rotaryDim: 16, start: 200, gain: 40 }, // scores past the range of exp
  { variant: "one", heads: 1, kvHeads: 1, headDim: 32, rotaryDim: 2, start: 0 },
  { variant: "one", ...QWEN, rows: 5, row: 3, start: 70 }, // one of a batch
  { variant: "split", ...QWEN, start: 1500 },
  { variant: "split", ...QWEN, rows: 3, row: 1, start: 1025 },
  { variant: "split", ...QWEN, start: 1025, part: "values" },
  { variant: "split", heads: 4, kvHeads: 2, headDim: 16, rotaryDim: 16, start: 1030, gain: 40 },
];

/** Rows of the cache past the new token: never to be read. */
const GARBAGE_ROWS = 3;

/** Keys and values with the new ones in their places. */
function caches(qkv: ArrayLike<number>, keys: ArrayLike<number>, values: ArrayLike<number>, c: Case) {
  const [width, columns] = [c.kvHeads * c.headDim, (c.heads + 2 * c.kvHeads) * c.headDim];
  const first = (c.row ?? 0) * columns + c.heads * c.headDim;
  const cached = { keys: Float64Array.from(keys), values: Float64Array.from(values) };
  for (let i = 0; i < width; i++) {
    cached.keys[c.start * width + i] = qkv[first + i]!;
    cached.values[c.start * width + i] = qkv[first + width + i]!;
  }
  return cached;
}

export default defineSuite<Case>({
  name: "rotary_attention",
  cases: CASES,
  inputs({ rows = 1, heads, kvHeads, headDim, rotaryDim, start, gain = 1, part }, random) {
    const scaledBy = (factor: number, tensor: HostTensor): HostTensor => ({
      ...tensor,
      data: Float32Array.from(tensor.data, (v) => v * factor),
    });
    const cache = (factor: number): HostTensor => {
      const tensor = scaledBy(factor, random([start + 1 + GARBAGE_ROWS, kvHeads * headDim]));
      // What is compared must be a number; the rest must not be read.
      return part ? tensor : { ...tensor, data: tensor.data.map((v, i) => (i < start * kvHeads * headDim ? v : NaN)) };
    };
    return {
      qkv: f32(scaledBy(gain, random([rows, (heads + 2 * kvHeads) * headDim]))),
      table: f32(random([start + 2, rotaryDim])),
      keys: cache(gain),
      values: cache(1),
      y: f32(random([rows, heads * headDim])),
    };
  },
  run({ qkv, table, keys, values, y }, { variant, part, ...layout }) {
    rotaryAttentionBy(variant, qkv!, table!, keys!, values!, { ...layout, tokens: 1 }, y!);
    return part ? { keys: keys!, values: values! }[part] : y!;
  },
  reference({ qkv, table, keys, values, y }, c) {
    const rotated = ropeRef(qkv!, table!, { ...c, tokens: 1 });
    const cached = caches(rotated, keys!, values!, c);
    if (c.part) return cached[c.part];
    return causalAttentionRef(rotated, cached.keys, cached.values, y!, { ...c, tokens: 1 });
  },
  tolerance: { f32: 1e-10, f16: 1e-6 },
  bytes: ({ start, heads, kvHeads, headDim }, element) =>
    2 * (start + 1) * kvHeads * headDim * element + (2 * heads + 2 * kvHeads) * headDim * 4,
  flops: ({ start, heads, headDim }) => 4 * heads * headDim * (start + 1),
  supports: ({ adapter }, { variant }) => variant === "two" || hasSubgroups(adapter),
});
