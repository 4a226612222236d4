import { defineSuite, u32 } from "./case.ts";
import { embed } from "./embed.ts";

export function embedRef(ids: ArrayLike<number>, table: ArrayLike<number>, dim: number): Float64Array {
  const y = new Float64Array(ids.length * dim);
  for (let t = 0; t < ids.length; t++) {
    for (let d = 0; d < dim; d++) y[t * dim + d] = table[ids[t]! * dim + d] ?? 0;
  }
  return y;
}

export default defineSuite({
  name: "embed",
  cases: [
    { vocab: 200, dim: 896, ids: [0, 199, 7, 7, 42] }, // width of Qwen2-0.5B
    { vocab: 3, dim: 5, ids: [2] },
    { vocab: 3, dim: 5, ids: [3, 1, 0xffffffff] }, // past the vocabulary: zeros
  ],
  inputs: ({ vocab, dim, ids }, random) => ({ ids: u32([ids.length], ids), table: random([vocab, dim]) }),
  run: ({ ids, table }) => embed(ids!, table!, "f32"),
  reference: ({ ids, table }, { dim }) => embedRef(ids!, table!, dim),
  tolerance: { f32: 0, f16: 0 },
  bytes: ({ dim, ids }, element) => ids.length * dim * (4 + element),
});
