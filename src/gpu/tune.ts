import type { Question } from "./choices.ts";
import type { Gpu } from "./gpu.ts";

/** Milliseconds of GPU time that a sample aims at, samples per candidate, and launches in a submit at most. */
const SAMPLE_MS = 2;
const SAMPLES = 5;
const LAUNCHES = 1024;
/** Milliseconds of work that a GPU at rest gets first: until its clock is up, all candidates look slow, and some slower than they are. */
const WARM_MS = 300;
/** A first launch that takes longer, in ms, says enough; later ones of fast kernels say more. */
const SLOW_MS = 20;
/** A candidate this many times slower than another is not timed twice. */
const HOPELESS = 3;
/** Part of the first candidate's time that another must save: ties shall not be decided by noise. */
const GAIN = 0.05;

/** How a question was answered. */
export interface Answer {
  readonly key: string;
  readonly chosen: string;
  /** Median milliseconds of one launch; absent for what did not compile, and all absent past the time limit. */
  readonly ms: Readonly<Record<string, number>>;
}

/**
 * Answers questions by timing their candidates. What the time limit leaves over gets its first candidate, so that a next time
 * chooses the same.
 *
 * @param options.limitMs  no question is begun after this many milliseconds
 */
export async function tune(
  gpu: Gpu,
  questions: readonly Question[],
  { limitMs, signal }: { readonly limitMs: number; readonly signal?: AbortSignal | undefined },
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const [first] = questions;
  if (!first) return answers;
  let ready: Promise<string[]> | undefined = compiled(gpu, first);
  const [candidate] = await ready;
  if (candidate !== undefined) await warm(gpu, candidate, first.trials, signal);
  const started = performance.now();
  for (const [i, { key, candidates, trials }] of questions.entries()) {
    signal?.throwIfAborted();
    const runners = (await ready) ?? [];
    const late = performance.now() - started > limitMs;
    const next = late ? undefined : questions[i + 1];
    // While this one is timed, unless that is done by the host's clock.
    const isApart = gpu.adapter.timestamps;
    if (isApart) ready = next && compiled(gpu, next);
    const ms = late ? {} : await race(gpu, runners, trials);
    if (!isApart) ready = next && compiled(gpu, next);
    answers.push({ key, ms, chosen: best(candidates, ms) });
  }
  return answers;
}

/** Keeps the GPU at one candidate for a while, in submits that are none of them long. */
async function warm(gpu: Gpu, candidate: string, trials: Question["trials"], signal?: AbortSignal): Promise<void> {
  let launches = 1;
  for (const started = performance.now(); performance.now() - started < WARM_MS; ) {
    signal?.throwIfAborted();
    const ms = await sample(gpu, candidate, trials, launches);
    launches = ms * launches < SLOW_MS ? Math.min(LAUNCHES, 2 * launches) : launches;
  }
}

/** The fastest, unless the first is as good. */
export function best(candidates: readonly string[], ms: Readonly<Record<string, number>>): string {
  const [first] = candidates as readonly [string, ...string[]];
  const fastest = Object.keys(ms).sort((a, b) => ms[a]! - ms[b]!)[0] ?? first;
  const usual = ms[first] ?? Number.POSITIVE_INFINITY;
  return ms[fastest]! < usual * (1 - GAIN) ? fastest : first;
}

/** The candidates that this adapter's compiler takes. */
async function compiled(gpu: Gpu, { candidates, trials }: Question): Promise<string[]> {
  const compile = (candidate: string): Promise<unknown> =>
    gpu.rehearse(() => {
      for (const trial of trials) run(gpu, candidate, trial);
      return undefined;
    });
  const results = await Promise.allSettled(candidates.map(compile));
  return candidates.filter((_, i) => results[i]!.status === "fulfilled");
}

/** Median milliseconds of one launch of each candidate, which take turns. */
async function race(
  gpu: Gpu,
  candidates: readonly string[],
  trials: Question["trials"],
): Promise<Record<string, number>> {
  const times: Record<string, number[]> = {};
  for (const candidate of candidates) {
    const first = await sample(gpu, candidate, trials, 1); // makes buffers and bind groups, and wakes the GPU
    times[candidate] = [first > SLOW_MS ? first : await sample(gpu, candidate, trials, trials.length)];
  }
  const fastest = Math.min(...Object.values(times).flat());
  const launches = Math.max(1, Math.min(LAUNCHES, Math.ceil(SAMPLE_MS / fastest)));
  const close = candidates.filter((candidate) => times[candidate]![0]! < HOPELESS * fastest);
  if (close.length > 1) {
    for (const candidate of close) times[candidate] = [];
    for (let i = 0; i < SAMPLES; i++)
      for (const candidate of close) times[candidate]!.push(await sample(gpu, candidate, trials, launches));
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
  return Object.fromEntries(candidates.map((candidate) => [candidate, median(times[candidate]!)]));
}

/** Milliseconds of a launch, on average over so many in one submit. */
async function sample(gpu: Gpu, candidate: string, trials: Question["trials"], launches: number): Promise<number> {
  const ms = await gpu.time(() => {
    for (let i = 0; i < launches; i++) run(gpu, candidate, trials[i % trials.length]!);
  });
  return ms / launches;
}

function run(gpu: Gpu, candidate: string, trial: Question["trials"][number]): undefined {
  gpu.scope(() => void trial(candidate));
}
