import { type AttentionVariant, attentionTileFits, selfAttentionBy } from "./attention.ts";
import { defineSuite } from "./case.ts";
import { hasCpuLanes } from "./lanes.ts";
import { hasMatrices } from "./matrices.ts";

/** One head: query vectors over the keys and values `visible` to each, all given by the index of their first element. */
export function attendRef(
  data: { readonly q: ArrayLike<number>; readonly k: ArrayLike<number>; readonly v: ArrayLike<number> },
  at: { readonly q: number; readonly k: (key: number) => number; readonly v: (key: number) => number },
  visible: number,
  headDim: number,
): Float64Array {
  const scores = new Float64Array(visible);
  for (let m = 0; m < visible; m++) {
    const k = at.k(m);
    let score = 0;
    for (let d = 0; d < headDim; d++) score += data.q[at.q + d]! * data.k[k + d]!;
    scores[m] = score * headDim ** -0.5;
  }
  const highest = scores.reduce((a, b) => Math.max(a, b));
  let total = 0;
  const y = new Float64Array(headDim);
  for (let m = 0; m < visible; m++) {
    const v = at.v(m);
    const weight = Math.exp(scores[m]! - highest);
    total += weight;
    for (let d = 0; d < headDim; d++) y[d]! += weight * data.v[v + d]!;
  }
  return y.map((sum) => sum / total);
}

export function selfAttentionRef(
  qkv: ArrayLike<number>,
  { batch, tokens, heads, headDim }: { batch: number; tokens: number; heads: number; headDim: number },
): Float64Array {
  const width = heads * headDim;
  const y = new Float64Array(batch * tokens * width);
  for (let b = 0; b < batch; b++) {
    for (let n = 0; n < tokens; n++) {
      for (let h = 0; h < heads; h++) {
        const row = (token: number) => (b * tokens + token) * 3 * width + h * headDim;
        const at = { q: row(n), k: (m: number) => row(m) + width, v: (m: number) => row(m) + 2 * width };
        y.set(attendRef({ q: qkv, k: qkv, v: qkv }, at, tokens, headDim), (b * tokens + n) * width + h * headDim);
      }
    }
  }
  return y;
}

interface Case {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  /** Multiplies the inputs: scores grow with its square. */
  readonly gain?: number;
  readonly variant: AttentionVariant;
}

const CASES: readonly Omit<Case, "variant">[] = [
  { batch: 1, tokens: 256, heads: 8, headDim: 32 }, // FastViTHD, last stage at 1024 × 1024
  { batch: 2, tokens: 15, heads: 3, headDim: 32 },
  { batch: 1, tokens: 33, heads: 2, headDim: 16 },
  { batch: 1, tokens: 17, heads: 2, headDim: 64 },
  { batch: 1, tokens: 9, heads: 1, headDim: 4 },
  { batch: 1, tokens: 20, heads: 3, headDim: 20, gain: 40 }, // scores past the range of exp
  { batch: 3, tokens: 1, heads: 1, headDim: 32 },
];

const TILES: readonly Omit<Case, "variant">[] = [
  { batch: 1, tokens: 256, heads: 8, headDim: 32 }, // FastViTHD, last stage at 1024 × 1024
  { batch: 2, tokens: 33, heads: 3, headDim: 32 }, // one past a tile
  { batch: 1, tokens: 70, heads: 2, headDim: 64, gain: 40 },
  { batch: 3, tokens: 1, heads: 1, headDim: 32 },
];

export default defineSuite<Case>({
  name: "attention",
  cases: [
    ...(["rows", "lanes"] as const).flatMap((variant) => CASES.map((c): Case => ({ ...c, variant }))),
    ...(["tile", "matrix"] as const).flatMap((variant) => TILES.map((c): Case => ({ ...c, variant }))),
    { batch: 2, tokens: 100, heads: 2, headDim: 72, variant: "matrix" }, // no whole number of matrices: SigLIP
  ],
  inputs({ batch, tokens, heads, headDim, gain = 1 }, random) {
    const qkv = random([batch, tokens, 3 * heads * headDim]);
    return { qkv: { ...qkv, data: Float32Array.from(qkv.data, (v) => v * gain) } };
  },
  run: ({ qkv }, { heads, variant }) => selfAttentionBy(variant, qkv!, heads),
  reference: ({ qkv }, c) => selfAttentionRef(qkv!, c),
  tolerance: { f32: 1e-10, f16: 1e-6 },
  bytes: ({ batch, tokens, heads, headDim }, element) => 4 * batch * tokens * heads * headDim * element,
  flops: ({ batch, tokens, heads, headDim }) => 4 * batch * tokens ** 2 * heads * headDim,
  supports({ adapter }, { variant, headDim }, dtype) {
    if (variant === "lanes") return hasCpuLanes(adapter);
    if (variant === "matrix") return dtype === "f16" && hasMatrices(adapter);
    if (variant === "rows") return true;
    // Software adapters unroll the loops of a tile over a wide head, and then compile for half a minute.
    return attentionTileFits(headDim, adapter) && !(adapter.software && headDim > 32);
  },
});
