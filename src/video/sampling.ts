import { InputError, VideoError } from "../errors.ts";
import type { FrameRule, VideoOptions } from "./types.ts";

const DEFAULT_FRAMES = 8;
const MAX_FRAMES = 4096;

/** Which part of a clip is seen; `VideoOptions` with its defaults. */
export interface Choice {
  readonly frames: number;
  readonly rule: FrameRule;
  /** Seconds; `end` is not included. */
  readonly start: number;
  readonly end: number;
}

/** @throws InputError for values that make no sense */
export function checkChoice(options: Pick<VideoOptions, "frames" | "rule" | "start" | "end">): Choice {
  const { frames = DEFAULT_FRAMES, rule = "centres", start = 0, end = Number.POSITIVE_INFINITY } = options;
  if (!Number.isSafeInteger(frames) || frames < 1 || frames > MAX_FRAMES) {
    throw new InputError(`video: frames: expected a whole number from 1 to ${MAX_FRAMES}, got ${frames}`);
  }
  if (rule !== "centres" && rule !== "linspace") {
    throw new InputError(`video: rule: expected "centres" or "linspace", got ${JSON.stringify(rule)}`);
  }
  if (!(start >= 0)) throw new InputError(`video: start: expected seconds, at least 0, got ${start}`);
  if (!(end > start)) throw new InputError(`video: end: expected seconds, more than the start's ${start}, got ${end}`);
  return { frames, rule, start, end };
}

/**
 * Indices of n frames, evenly spread over a clip. They repeat where the clip has fewer.
 *
 * `centres`: ⌊i·total/n + total/2n⌋, `linspace`: ⌊i·(total−1)/(n−1)⌋, for i = 0 … n−1
 */
export function frameIndices(total: number, n: number, rule: FrameRule): number[] {
  return Array.from({ length: n }, (_, i) => {
    if (rule === "centres") return Math.floor(((2 * i + 1) * total) / (2 * n));
    return n === 1 ? 0 : Math.floor((i * (total - 1)) / (n - 1));
  });
}

/**
 * Chooses frames by when they are shown.
 *
 * @param times of all frames of the clip, in seconds, ascending
 * @returns     indices into `times`, ascending, none twice
 * @throws VideoError when no frame lies between start and end
 */
export function chooseFrames(times: readonly number[], { frames, rule, start, end }: Choice): number[] {
  if (times.length === 0) throw new VideoError("video: expected at least one frame, got none");
  const seen = times.filter((time) => time >= start && time < end).length;
  if (seen === 0) {
    throw new VideoError(`video: no frame from ${start} s to ${end} s`, {
      hint: `Its ${times.length} frames are from 0 s to ${times.at(-1)!.toFixed(2)} s.`,
    });
  }
  const from = times.findIndex((time) => time >= start);
  return [...new Set(frameIndices(seen, frames, rule))].map((index) => from + index);
}
