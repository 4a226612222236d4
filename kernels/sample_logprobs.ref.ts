import { defineSuite, f32, u32 } from "./case.ts";
import { sampleLogprobs } from "./sample_logprobs.ts";

/** Log softmax at the token and at the n largest, and the ids of these. */
export function logprobsRef(
  logits: ArrayLike<number>,
  token: number,
  count: number,
  vocabulary = logits.length,
): { ids: number[]; logprobs: number[] } {
  const row = Array.from(logits, (value) => (Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value)).slice(
    0,
    vocabulary,
  );
  const best = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const logSum = Math.log(row.reduce((sum, value) => sum + Math.exp(value - best), 0));
  const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, count);
  const ids = [token, ...order];
  return { ids, logprobs: ids.map((v) => row[v]! - best - logSum) };
}

interface Case {
  readonly columns: number;
  readonly count: number;
  readonly tokens: readonly number[];
  readonly part: "ids" | "logprobs";
  readonly vocabulary?: number;
  /** Values that replace the random ones in front of every row. */
  readonly head?: readonly number[];
  readonly spread?: number;
}

const { NaN: nan, NEGATIVE_INFINITY: low } = Number;
const qwen = { columns: 151936, count: 20, tokens: [7], vocabulary: 151665 };
const small = { columns: 700, count: 5, tokens: [0, 96, 699], spread: 0.1 };
const ties = { columns: 300, count: 7, tokens: [2], head: [3, 1, 3, 3], spread: 0 };

export default defineSuite<Case>({
  name: "sample_logprobs",
  cases: [
    { ...qwen, part: "ids" },
    { ...qwen, part: "logprobs" },
    { ...small, part: "ids" },
    { ...small, part: "logprobs" },
    { ...ties, part: "ids" },
    { ...ties, part: "logprobs" },
    { columns: 4, count: 4, tokens: [2], head: [nan, low, 3, 1], part: "ids" },
    { columns: 1, count: 0, tokens: [0], part: "logprobs" },
    { columns: 200064, count: 0, tokens: [5], spread: 0.001, part: "logprobs" }, // all nearly equal
  ],
  inputs: ({ columns, tokens, head = [], spread = 1 }, random) => {
    const logits = f32(random([tokens.length, columns]));
    for (let i = 0; i < logits.data.length; i++) logits.data[i]! *= spread;
    for (let row = 0; row < tokens.length; row++) logits.data.set(head, row * columns);
    return { logits, token: u32([tokens.length], tokens) };
  },
  run: ({ logits, token }, { count, vocabulary, part }) => {
    const y = sampleLogprobs(logits!, token!, count, vocabulary);
    return part === "ids" ? y.rows(1, 2) : y.rows(0, 1);
  },
  reference: ({ logits, token }, { columns, count, vocabulary, part }) =>
    Array.from(token!).flatMap(
      (id, row) => logprobsRef(logits!.subarray(row * columns, (row + 1) * columns), id, count, vocabulary)[part],
    ),
  tolerance: { f32: 1e-12, f16: 1e-12 },
  bytes: ({ columns, tokens }) => tokens.length * columns * 4,
});
