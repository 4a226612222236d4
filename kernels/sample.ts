import { ShapeError } from "../src/errors.ts";
import type { AdapterSummary } from "../src/gpu/device.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectDType, expectShape, type Tensor } from "../src/tensor/tensor.ts";

const adjust = defineKernel({
  name: "sample_adjust",
  source: new URL("../shaders/sample_adjust.wgsl", import.meta.url),
  buffers: { logits: "read", bias: "read?", seen: "read?", mask: "read?", x: "write", maxima: "write", state: "write" },
  params: { columns: "u32", vocabulary: "u32", chunk: "u32", repetition: "f32", frequency: "f32", presence: "f32" },
  overrides: ["WORKGROUP_SIZE", "HAS_BIAS", "HAS_SEEN", "HAS_MASK"],
});

const histogram = defineKernel({
  name: "sample_histogram",
  source: new URL("../shaders/sample_histogram.wgsl", import.meta.url),
  buffers: { x: "read", maxima: "read", state: "update" },
  params: { columns: "u32", chunk: "u32", groups: "u32", inverse_temperature: "f32" },
  overrides: ["HAS_MASS"],
});

const bounds = defineKernel({
  name: "sample_bounds",
  source: new URL("../shaders/sample_bounds.wgsl", import.meta.url),
  buffers: { state: "update" },
  params: { inverse_temperature: "f32", top_k: "u32", top_p: "f32" },
  overrides: ["HAS_K", "HAS_P"],
});

const collect = defineKernel({
  name: "sample_collect",
  source: new URL("../shaders/sample_collect.wgsl", import.meta.url),
  buffers: { x: "read", maxima: "read", state: "update", candidates: "update" },
  params: { columns: "u32", chunk: "u32", groups: "u32" },
  overrides: ["WHOLE_TOP"],
});

const threshold = defineKernel({
  name: "sample_threshold",
  source: new URL("../shaders/sample_threshold.wgsl", import.meta.url),
  buffers: { x: "read", maxima: "read", candidates: "read", state: "update" },
  params: { columns: "u32", groups: "u32", inverse_temperature: "f32", top_k: "u32", top_p: "f32" },
  overrides: ["HAS_P"],
});

const draw = defineKernel({
  name: "sample_draw",
  source: new URL("../shaders/sample_draw.wgsl", import.meta.url),
  buffers: { x: "read", maxima: "read", state: "read", best: "write" },
  params: {
    rows: "u32",
    columns: "u32",
    chunk: "u32",
    groups: "u32",
    inverse_temperature: "f32",
    reach: "f32",
    step: "u32",
    seed_low: "u32",
    seed_high: "u32",
  },
  overrides: ["WORKGROUP_SIZE", "HAS_THRESHOLD"],
});

const finish = defineKernel({
  name: "sample_finish",
  source: new URL("../shaders/sample_finish.wgsl", import.meta.url),
  buffers: { best: "read", seen: "update", token: "write" },
  params: { rows: "u32", columns: "u32", groups: "u32" },
  overrides: ["HAS_SEEN"],
});

/** Words of state per row: three histograms of 768 bins, then the filters' cuts. */
const STATE = 2312;
/** Probabilities are summed in fixed point with room for this many tokens. */
const MAX_COLUMNS = 2 ** 18;
const LARGEST = 1e38;

export interface SampleOptions {
  /** Ids from here on are never chosen. Default V */
  readonly vocabulary?: number;
  /** 0 takes the likeliest. Default 0 */
  readonly temperature?: number;
  /** 0 = all. Default 0 */
  readonly topK?: number;
  /** Default 1 */
  readonly topP?: number;
  /** Default 0 */
  readonly minP?: number;
  /** Default 1 */
  readonly repetitionPenalty?: number;
  /** Default 0 */
  readonly frequencyPenalty?: number;
  /** Default 0 */
  readonly presencePenalty?: number;
  /** Up to 2^53; a draw is a function of seed and step. Default 0 */
  readonly seed?: number;
  /** Of the first draw; the next takes the next step. Default 0 */
  readonly step?: number;
  /** Tokens drawn from each row, with a temperature. Those of all rows come before the next of the first. Default 1 */
  readonly draws?: number;
}

export interface SampleTensors {
  /** f32 [V], added to the logits. At -1e38 and below a token is taken only if nothing else can be. */
  readonly bias?: Tensor | undefined;
  /** u32 [R, V]: how often each token was chosen, plus 2^31 if the prompt has it. Counts a single new token. */
  readonly seen?: Tensor | undefined;
  /** u32 [⌈V / 32⌉]: token v may be chosen if bit v % 32 of word v / 32 is set. */
  readonly mask?: Tensor | undefined;
  /** Where to write the result. Default: a new tensor */
  readonly token?: Tensor | undefined;
}

/**
 * Chooses one token per row: bias, penalties (repetition, then frequency and presence), mask; then the largest, or with a
 * temperature a draw from the softmax over what top-k, top-p and min-p keep, each applied to what the one before left, as in
 * transformers. Tokens as likely as the last one kept are kept too.
 *
 * NaN and -inf are chosen only where there is nothing else, then evenly; 0 where the mask allows nothing.
 *
 * @param logits  f32 [R, V], V up to 2^18
 * @returns       u32 [draws · R]
 */
export function sample(logits: Tensor, options: SampleOptions = {}, tensors: SampleTensors = {}): Tensor {
  const { R, V } = logits.dims("R V");
  const { temperature = 0, topK = 0, topP = 1, draws = 1 } = options;
  if (draws > 1 && temperature === 0)
    throw new ShapeError(`sample: draws: expected 1 without a temperature, got ${draws}`);
  const { gpu } = logits;
  const token = tensors.token ?? gpu.empty([draws * R], "u32");
  expectShape("sample: token", token, [draws * R]);
  gpu.scope(() => {
    const scores = adjusted(logits, options, tensors);
    const { maxima, groups } = scores;
    if (temperature > 0 && (topK > 0 || topP < 1)) cut(scores, options);
    const best = temperature > 0 ? drawn(scores, options) : maxima;
    const counts = tensors.seen !== undefined && draws === 1;
    const seen = (counts && tensors.seen) || gpu.empty([1], "u32");
    const launch = { workgroups: Math.ceil((draws * R) / 64), overrides: { HAS_SEEN: counts } };
    finish.run({ best, seen, token }, { rows: draws * R, columns: V, groups }, launch);
    return undefined;
  });
  return token;
}

/**
 * The first half of a choice alone: the logits as they are, the sum of their exponentials, and those that may be among the
 * `count` largest.
 *
 * @param vocabulary  elements from here on are left out. Default V
 */
export function likeliest(logits: Tensor, count: number, vocabulary?: number): Scores & { candidates: Tensor } {
  const { R, V } = logits.dims("R V");
  const scores = adjusted(logits, vocabulary === undefined ? {} : { vocabulary }, {});
  const { x, maxima, state, groups, chunk } = scores;
  const candidates = x.gpu.empty([R, V], "u32");
  const parallel = { workgroups: [groups, R] } as const;
  const summed = { workgroups: [1, R], overrides: { HAS_K: true } } as const;
  histogram.run({ x, maxima, state }, { columns: V, chunk, groups, inverse_temperature: 1 }, parallel);
  bounds.run({ state }, { inverse_temperature: 1, top_k: Math.max(1, count), top_p: 1 }, summed);
  const whole = { ...parallel, overrides: { WHOLE_TOP: true } };
  if (count > 0) collect.run({ x, maxima, state, candidates }, { columns: V, chunk, groups }, whole);
  return { ...scores, candidates };
}

/** Adjusted logits [R, V], each workgroup's best [R, G, 2], and what the passes tell each other. */
export interface Scores {
  readonly x: Tensor;
  readonly maxima: Tensor;
  readonly state: Tensor;
  readonly groups: number;
  readonly chunk: number;
}

/** Elements of a row that one workgroup takes: enough groups for a GPU; a CPU has few cores, and barriers are slow there. */
const sampleChunk = (columns: number, { software }: AdapterSummary): number =>
  Math.ceil(columns / (software ? 4 : 128) / 256) * 256;

/** Threads of a workgroup: where a CPU takes turns for them at every barrier, few. */
const workgroupSize = ({ software }: AdapterSummary): { WORKGROUP_SIZE: number } => ({
  WORKGROUP_SIZE: software ? 32 : 256,
});

function adjusted(logits: Tensor, options: SampleOptions, { bias, seen, mask }: SampleTensors): Scores {
  const { R, V } = logits.dims("R V");
  const { vocabulary = V, repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  const { gpu } = logits;
  expectDType("sample: logits", logits, "f32");
  if (V > MAX_COLUMNS) throw new ShapeError(`sample: logits: expected at most ${MAX_COLUMNS} columns, got ${V}`);
  if (vocabulary < 1) throw new ShapeError(`sample: vocabulary: expected at least 1, got ${vocabulary}`);
  if (bias) expectShape("sample: bias", bias, [V]);
  if (seen) expectShape("sample: seen", seen, [R, V]);
  if (mask) expectShape("sample: mask", mask, [Math.ceil(V / 32)]);
  const chunk = sampleChunk(V, gpu.adapter);
  const groups = Math.ceil(V / chunk);
  const x = gpu.empty([R, V], "f32");
  const maxima = gpu.empty([R, groups, 2], "u32");
  const state = gpu.empty([R, STATE], "u32");
  const penalties = {
    repetition: repetitionPenalty,
    frequency: frequencyPenalty,
    presence: presencePenalty,
  };
  const uses = { HAS_BIAS: bias !== undefined, HAS_SEEN: seen !== undefined, HAS_MASK: mask !== undefined };
  const overrides = { ...workgroupSize(gpu.adapter), ...uses };
  adjust.run(
    { logits, bias, seen, mask, x, maxima, state },
    { columns: V, vocabulary, chunk, ...penalties },
    {
      workgroups: [groups, R],
      overrides,
    },
  );
  return { x, maxima, state, groups, chunk };
}

/** Temperatures as small as these mean the same as the smallest whose inverse a float holds. */
const inverse = (temperature = 0): number => Math.min(1 / temperature, LARGEST);

/** Leaves in the state the least score that top-k and top-p keep. */
function cut({ x, maxima, state, groups, chunk }: Scores, options: SampleOptions): void {
  const { R, V } = x.dims("R V");
  const { temperature, topK = 0, topP = 1 } = options;
  const inverse_temperature = inverse(temperature);
  const candidates = x.gpu.empty([R, V], "u32");
  const filters = { inverse_temperature, top_k: topK, top_p: topP };
  const rows = { workgroups: [1, R] } as const;
  const parallel = { workgroups: [groups, R] } as const;
  const [HAS_K, HAS_P] = [topK > 0, topP < 1];
  const counted = { ...parallel, overrides: { HAS_MASS: HAS_P } };
  histogram.run({ x, maxima, state }, { columns: V, chunk, groups, inverse_temperature }, counted);
  bounds.run({ state }, filters, { ...rows, overrides: { HAS_K, HAS_P } });
  collect.run({ x, maxima, state, candidates }, { columns: V, chunk, groups }, parallel);
  const cutting = { ...rows, overrides: { HAS_P } };
  threshold.run({ x, maxima, candidates, state }, { columns: V, groups, ...filters }, cutting);
}

/** The best score of each workgroup for each draw. */
function drawn({ x, maxima, state, groups, chunk }: Scores, options: SampleOptions): Tensor {
  const { R, V } = x.dims("R V");
  const { temperature, topK = 0, topP = 1, minP = 0, seed = 0, step = 0, draws = 1 } = options;
  const inverse_temperature = inverse(temperature);
  const best = x.gpu.empty([draws * R, groups, 2], "u32");
  const params = {
    rows: R,
    columns: V,
    chunk,
    groups,
    inverse_temperature,
    reach: minP > 0 ? -Math.log(minP) / inverse_temperature : 3.4e38,
    step: step % 2 ** 32,
    seed_low: seed % 2 ** 32,
    seed_high: Math.floor(seed / 2 ** 32),
  };
  const overrides = { ...workgroupSize(x.gpu.adapter), HAS_THRESHOLD: topK > 0 || topP < 1 };
  draw.run({ x, maxima, state, best }, params, { workgroups: [groups, draws * R], overrides });
  return best;
}
