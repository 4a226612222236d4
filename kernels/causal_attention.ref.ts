import { attendRef } from "./attention.ref.ts";
import { defineSuite, f32, type HostTensor } from "./case.ts";
import { type CausalAttentionVariant, causalAttentionBy, causalTileFits } from "./causal_attention.ts";
import { hasCpuLanes } from "./lanes.ts";
import type { CacheLayout } from "./rope_kv.ts";

/** The packed projection is wider than the queries: its first columns are they. */
export function causalAttentionRef(
  q: ArrayLike<number>,
  keys: ArrayLike<number>,
  values: ArrayLike<number>,
  y: ArrayLike<number>,
  { tokens, heads, kvHeads, headDim, start, rows = tokens, row = 0 }: Shape,
): Float64Array {
  const result = Float64Array.from(y);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      const kv = Math.floor(h / (heads / kvHeads)) * headDim;
      const cached = (s: number) => s * kvHeads * headDim + kv;
      const at = { q: (row + t) * (q.length / rows) + h * headDim, k: cached, v: cached };
      const attended = attendRef({ q, k: keys, v: values }, at, start + t + 1, headDim);
      result.set(attended, ((row + t) * heads + h) * headDim);
    }
  }
  return result;
}

interface Shape extends CacheLayout {
  readonly tokens: number;
  /** Rows of q and y, when only `tokens` of them from `row` on belong to this sequence. */
  readonly rows?: number;
  /** Multiplies the queries and keys: scores grow with its square. */
  readonly gain?: number;
  /** Queries stay f32 whatever the cache is, as in the language model. */
  readonly wide?: boolean;
}

interface Case extends Shape {
  readonly variant: CausalAttentionVariant;
}

const PREFILL: readonly Shape[] = [
  { tokens: 64, start: 0, heads: 14, kvHeads: 2, headDim: 64, wide: true }, // Qwen2-0.5B
  { tokens: 13, start: 8, heads: 6, kvHeads: 3, headDim: 128 },
  { tokens: 5, start: 100, heads: 5, kvHeads: 1, headDim: 96 },
  { tokens: 33, start: 0, heads: 3, kvHeads: 3, headDim: 24 },
  { tokens: 17, start: 3, heads: 4, kvHeads: 2, headDim: 16, gain: 40 }, // scores past the range of exp
  { tokens: 5, rows: 9, row: 3, start: 6, heads: 4, kvHeads: 2, headDim: 32 }, // part of a batch
];

/** Head sizes that the shader with tiles takes. */
const TILES: readonly Shape[] = [
  ...PREFILL.filter(({ headDim }) => [32, 64, 128].includes(headDim)),
  { tokens: 40, start: 3, heads: 4, kvHeads: 2, headDim: 32, gain: 40 },
  { tokens: 9, start: 70, heads: 7, kvHeads: 1, headDim: 64, wide: true },
];

const DECODE: readonly Shape[] = [
  { tokens: 1, start: 1000, heads: 14, kvHeads: 2, headDim: 64, wide: true }, // Qwen2-0.5B
  { tokens: 1, start: 1000, heads: 24, kvHeads: 8, headDim: 128, wide: true }, // Phi-4-mini
  { tokens: 1, start: 66, heads: 8, kvHeads: 2, headDim: 32 },
  { tokens: 1, start: 63, heads: 7, kvHeads: 1, headDim: 96 },
  { tokens: 1, start: 64, heads: 3, kvHeads: 3, headDim: 24 },
  { tokens: 1, start: 200, heads: 4, kvHeads: 2, headDim: 16, gain: 40 },
  { tokens: 1, start: 0, heads: 1, kvHeads: 1, headDim: 32 },
  { tokens: 1, rows: 8, row: 5, start: 70, heads: 6, kvHeads: 2, headDim: 64, wide: true }, // one of a batch
];

const scaledBy = (gain: number, tensor: HostTensor): HostTensor => ({
  ...tensor,
  data: Float32Array.from(tensor.data, (v) => v * gain),
});

/** Rows of the cache past the last token: never to be read. */
const GARBAGE_ROWS = 3;

export default defineSuite<Case>({
  name: "causal_attention",
  cases: [
    ...PREFILL.map((c): Case => ({ ...c, variant: "rows" })),
    ...TILES.map((c): Case => ({ ...c, variant: "tile" })),
    ...DECODE.map((c): Case => ({ ...c, variant: "decode" })),
    ...[...PREFILL, ...DECODE].map((c): Case => ({ ...c, variant: "lanes" })),
  ],
  inputs({ tokens, rows = tokens, heads, kvHeads, headDim, start, gain = 1, wide }, random) {
    const cached = [start + tokens + GARBAGE_ROWS, kvHeads * headDim];
    const poison = (cache: HostTensor): HostTensor => ({
      ...cache,
      data: Float32Array.from(cache.data, (v, i) => (i < (start + tokens) * kvHeads * headDim ? v : Number.NaN)),
    });
    const q = scaledBy(gain, random([rows, (heads + 2 * kvHeads) * headDim]));
    const y = random([rows, heads * headDim]);
    const queries = wide ? { q: f32(q), y: f32(y) } : { q, y };
    return { ...queries, keys: poison(scaledBy(gain, random(cached))), values: poison(random(cached)) };
  },
  run: ({ q, keys, values, y }, { variant, ...layout }) => causalAttentionBy(variant, q!, keys!, values!, layout, y),
  reference: ({ q, keys, values, y }, layout) => causalAttentionRef(q!, keys!, values!, y!, layout),
  tolerance: { f32: 1e-10, f16: 1e-6 },
  bytes: ({ tokens, start, kvHeads, headDim }, element) => 2 * (start + tokens) * kvHeads * headDim * element,
  flops: ({ tokens, start, heads, headDim }) => 4 * heads * headDim * tokens * (start + (tokens + 1) / 2),
  supports({ adapter }, { variant, headDim }) {
    if (variant === "lanes") return hasCpuLanes(adapter);
    if (variant === "tile") return causalTileFits(headDim, adapter);
    // Software adapters unroll the loops over a wide head, and then compile for half a minute.
    return !(adapter.software && variant === "rows" && headDim > 64);
  },
});
