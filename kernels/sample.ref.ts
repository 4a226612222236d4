import { defineSuite, f32, u32 } from "./case.ts";
import { type SampleOptions, sample } from "./sample.ts";

/** pcg4d (Jarzynski and Olano, "Hash Functions for GPU Rendering", 2020), first word. */
export function pcg4d(a: number, b: number, c: number, d: number): number {
  const mix = (value: number): number => (Math.imul(value, 1664525) + 1013904223) >>> 0;
  let [x, y, z, w] = [mix(a), mix(b), mix(c), mix(d)];
  for (let round = 0; round < 2; round++) {
    x = (x + Math.imul(y, w)) >>> 0;
    y = (y + Math.imul(z, x)) >>> 0;
    z = (z + Math.imul(x, y)) >>> 0;
    w = (w + Math.imul(y, z)) >>> 0;
    if (round === 0) [x, y, z, w] = [x ^ (x >>> 16), y ^ (y >>> 16), z ^ (z >>> 16), w ^ (w >>> 16)];
  }
  return x >>> 0;
}

/** What steers a choice besides the options, for one row. */
export interface SampleRow {
  readonly bias?: ArrayLike<number> | undefined;
  readonly seen?: ArrayLike<number> | undefined;
  readonly mask?: ArrayLike<number> | undefined;
}

/** Scores after bias, penalties and mask; -Infinity for NaN and -inf, undefined for tokens that must not be chosen. */
function adjustRef(logits: ArrayLike<number>, options: SampleOptions, row: SampleRow): (number | undefined)[] {
  const { vocabulary = logits.length, repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  return Array.from(logits, (logit, v) => {
    if (v >= vocabulary || (row.mask && ((row.mask[v >> 5]! >>> (v & 31)) & 1) === 0)) return undefined;
    if (Number.isNaN(logit) || logit === Number.NEGATIVE_INFINITY) return Number.NEGATIVE_INFINITY;
    const bias = row.bias?.[v] ?? 0;
    if (bias <= -1e38) return Number.NEGATIVE_INFINITY;
    let value = Math.max(-1e38, Math.min(1e38, logit)) + bias;
    const times = row.seen?.[v] ?? 0;
    if (times !== 0) value = value > 0 ? value / repetitionPenalty : value * repetitionPenalty;
    const chosen = times % 2 ** 31;
    return value - frequencyPenalty * chosen - (chosen > 0 ? presencePenalty : 0);
  });
}

/** Probabilities that a choice draws from; zero for tokens that are filtered out. */
export function distributionRef(
  logits: ArrayLike<number>,
  options: SampleOptions,
  row: SampleRow = {},
): Float64Array<ArrayBuffer> {
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = options;
  const scores = adjustRef(logits, options, row);
  const order = [...scores.keys()]
    .filter((v) => scores[v] !== undefined)
    .sort((a, b) => scores[b]! - scores[a]! || a - b);
  const best = order.length > 0 ? scores[order[0]!]! : 0;
  const weight = (v: number): number => (scores[v] === best ? 1 : Math.exp((scores[v]! - best) / temperature));
  const result = new Float64Array(logits.length);
  if (temperature === 0) {
    result[order[0] ?? 0] = 1;
    return result;
  }
  const last = topK > 0 && topK < order.length ? scores[order[topK - 1]!]! : Number.NEGATIVE_INFINITY;
  let kept = order.filter((v) => scores[v]! >= last);
  const goal = topP * kept.reduce((sum, v) => sum + weight(v), 0);
  let above = 0;
  let least = Number.NEGATIVE_INFINITY;
  for (const v of topP < 1 ? kept : []) {
    above += weight(v);
    least = scores[v]!;
    if (above >= goal) break;
  }
  kept = kept.filter((v) => scores[v]! >= least && weight(v) >= minP);
  const total = kept.reduce((sum, v) => sum + weight(v), 0);
  for (const v of kept) result[v] = weight(v) / total;
  return result;
}

/** The token with the largest log p - log E; E as the kernel makes it from seed, step and token. */
export function sampleRef(logits: ArrayLike<number>, options: SampleOptions, row: SampleRow = {}): number {
  const { seed = 0, step = 0 } = options;
  let token = 0;
  let highest = Number.NEGATIVE_INFINITY;
  for (const [v, p] of distributionRef(logits, options, row).entries()) {
    if (p === 0) continue;
    const u = (pcg4d(v, step, seed % 2 ** 32, Math.floor(seed / 2 ** 32)) + 0.5) / 2 ** 32;
    const score = Math.log(p) - Math.log(-Math.log1p(-u));
    if (score > highest) [token, highest] = [v, score];
  }
  return token;
}

interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly options: SampleOptions;
  /** Values that replace the random ones in front of every row. */
  readonly head?: readonly number[];
  /** Spread of the logits; the random ones have outliers twenty times as large. */
  readonly spread?: number;
  readonly with?: readonly ("bias" | "seen" | "mask")[];
}

const { NaN: nan, NEGATIVE_INFINITY: low, POSITIVE_INFINITY: high } = Number;
const everything = { temperature: 0.8, topK: 60, topP: 0.9, minP: 0.01, repetitionPenalty: 1.2, frequencyPenalty: 0.4 };

export default defineSuite<Case>({
  name: "sample",
  cases: [
    { rows: 1, columns: 151936, options: { temperature: 1, topK: 50, topP: 0.9, vocabulary: 151665 }, spread: 4 }, // Qwen2
    { rows: 1, columns: 200064, options: { temperature: 1.5, topP: 0.7, presencePenalty: 1 }, with: ["seen"] }, // Phi-4-mini
    { rows: 2, columns: 20000, options: { ...everything, seed: 2 ** 53 - 1, step: 9 }, with: ["bias", "seen", "mask"] },
    { rows: 4, columns: 300, options: everything, with: ["mask"] },
    { rows: 3, columns: 257, options: { temperature: 0.01, topP: 0.3 } },
    { rows: 3, columns: 1, options: { temperature: 1, topK: 3, topP: 0.5 } },
    { rows: 9, columns: 5000, options: { temperature: 2, topK: 3000, topP: 0.999 } },
    { rows: 9, columns: 5000, options: { temperature: 5, minP: 0.2 } },
    { rows: 9, columns: 700, options: { temperature: 1e4, topK: 2 } },
    { rows: 9, columns: 700, options: { temperature: 1e-6, topK: 2, topP: 0.5, minP: 0.5 } },
    { rows: 9, columns: 5, options: { temperature: 1, topK: 2 }, head: [1, 3, 3, 3, 0] }, // ties are kept
    { rows: 9, columns: 5, options: { temperature: 1, topP: 0.2 }, head: [3, 1, 3, 3, 0] },
    { rows: 9, columns: 4000, options: { temperature: 1, topK: 7, topP: 0.4 }, spread: 0 }, // all equal
    { rows: 9, columns: 600, options: { temperature: 1, topK: 5 }, head: [nan, low, 2, low], spread: 1 },
    { rows: 9, columns: 6, options: { temperature: 1, topP: 0.9 }, head: [nan, 2, low, 1, high, high] },
    { rows: 9, columns: 4, options: { temperature: 1, topK: 2, topP: 0.9 }, head: [nan, low, low, nan] },
    { rows: 2, columns: 3, options: { vocabulary: 2 }, head: [low, nan, 7] },
    { rows: 3, columns: 900, options: { repetitionPenalty: 1.3, presencePenalty: -1 }, with: ["seen", "bias"] },
    { rows: 3, columns: 900, options: {}, with: ["mask"] },
  ],
  inputs: ({ rows, columns, head = [], spread = 1, with: uses = [] }, random) => {
    const logits = f32(random([rows, columns]));
    for (let i = 0; i < logits.data.length; i++) logits.data[i]! *= spread;
    for (let row = 0; row < rows; row++) logits.data.set(head, row * columns);
    const bits = (size: number): number[] => Array.from(random([size]).data, (value) => (value + 1) * 2 ** 31);
    const times = [0, 0, 1, 3, 2 ** 31, 2 ** 31 + 2];
    return {
      logits,
      ...(uses.includes("bias") && { bias: f32(random([columns])) }),
      ...(uses.includes("seen") && {
        seen: u32(
          [rows, columns],
          bits(rows * columns).map((word) => times[Math.floor(word / 2 ** 20) % 6]!),
        ),
      }),
      ...(uses.includes("mask") && { mask: u32([Math.ceil(columns / 32)], bits(Math.ceil(columns / 32))) }),
    };
  },
  run: ({ logits, bias, seen, mask }, { options }) => sample(logits!, options, { bias, seen, mask }),
  reference: ({ logits, bias, seen, mask }, { rows, columns, options }) =>
    Array.from({ length: rows }, (_, row) =>
      sampleRef(
        logits!.subarray(row * columns, (row + 1) * columns),
        { ...options, step: (options.step ?? 0) + row },
        { bias, seen: seen?.subarray(row * columns, (row + 1) * columns), mask },
      ),
    ),
  tolerance: { f32: 0, f16: 0 },
  bytes: ({ rows, columns }) => rows * columns * 4,
});
