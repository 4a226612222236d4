import assert from "node:assert/strict";
import { distributionRef, type SampleRow } from "../kernels/sample.ref.ts";
import { type SampleOptions, sample } from "../kernels/sample.ts";
import type { Gpu } from "../src/gpu/gpu.ts";

/** Drawn in one run, at most. */
const DRAWS = 50_000;
export const LOGITS = Float32Array.from({ length: 40 }, (_, v) => 3 * Math.sin(v * 2.3) + (v % 7) * 0.2);
const BIAS = Float32Array.from(LOGITS, (_, v) => (v === 3 ? 2.5 : v === 30 ? -1.2e38 : 0));
const SEEN = Uint32Array.from(LOGITS, (_, v) => [0, 2 ** 31, 1, 2 ** 31 + 3][v % 4]!);
const MASK = Uint32Array.of(0xf0f5_a0ff, 0x5a);

/** Draws from one row, and the probabilities they should follow. */
export async function histogram(
  gpu: Gpu,
  options: SampleOptions,
  row: SampleRow,
  total = 100_000,
): Promise<{ counts: number[]; expected: Float64Array }> {
  const size = LOGITS.length;
  const logits = gpu.upload([1, size], "f32", LOGITS);
  const tensors = {
    bias: row.bias && gpu.upload([size], "f32", BIAS),
    seen: row.seen && gpu.upload([1, size], "u32", SEEN),
    mask: row.mask && gpu.upload([2], "u32", MASK),
  };
  const counts = new Array<number>(size).fill(0);
  for (let step = 0; step < total; step += DRAWS) {
    const draws = Math.min(DRAWS, total - step);
    const tokens = gpu.scope(() => gpu.keep(sample(logits, { ...options, step, draws, seed: 11 }, tensors)));
    for (const token of await gpu.readU32(tokens)) counts[token]!++;
    gpu.release(tokens);
  }
  for (const tensor of [logits, ...Object.values(tensors)]) if (tensor) gpu.release(tensor);
  return { counts, expected: distributionRef(LOGITS, options, row) };
}

/** Standard deviations that χ² lies above what is expected of it (Wilson and Hilferty's approximation). */
export function surprise(counts: readonly number[], expected: ArrayLike<number>): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let [chi, classes, rare, rareExpected] = [0, 0, 0, 0];
  for (const [v, count] of counts.entries()) {
    const want = expected[v]! * total;
    if (want === 0) assert.equal(count, 0, `token ${v} was filtered out`);
    else if (want < 5) [rare, rareExpected] = [rare + count, rareExpected + want];
    else [chi, classes] = [chi + (count - want) ** 2 / want, classes + 1];
  }
  if (rareExpected > 0) [chi, classes] = [chi + (rare - rareExpected) ** 2 / rareExpected, classes + 1];
  const freedom = classes - 1;
  if (freedom === 0) return 0;
  return (Math.cbrt(chi / freedom) - (1 - 2 / (9 * freedom))) / Math.sqrt(2 / (9 * freedom));
}

/** What draws may be filtered by. */
export const DISTRIBUTIONS: readonly (readonly [string, SampleOptions, SampleRow?])[] = [
  ["temperature", { temperature: 1.3 }],
  ["a low temperature", { temperature: 0.4 }],
  ["top-k", { temperature: 1, topK: 9 }],
  ["top-p", { temperature: 1, topP: 0.8 }],
  ["min-p", { temperature: 1, minP: 0.1 }],
  ["all filters", { temperature: 1.5, topK: 20, topP: 0.9, minP: 0.05 }],
  ["bias", { temperature: 1 }, { bias: BIAS }],
  ["mask", { temperature: 1.5 }, { mask: MASK }],
  ["repetition penalty", { temperature: 1, repetitionPenalty: 1.5 }, { seen: SEEN }],
  ["frequency and presence", { temperature: 1, frequencyPenalty: 0.5, presencePenalty: 0.7 }, { seen: SEEN }],
  ["the vocabulary's limit", { temperature: 2, vocabulary: 17 }],
];
