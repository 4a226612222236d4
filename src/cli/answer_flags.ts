import { readFileSync } from "node:fs";
import pc from "picocolors";
import { InputError } from "../errors.ts";
import type { ChatOptions, ContentPart, Result } from "../pipeline/types.ts";
import type { VideoOptions } from "../video/types.ts";
import { choice, integer, number } from "./args.ts";

/** Flags of every command that makes answers. */
export const ANSWER_FLAGS = {
  "max-tokens": { type: "string" },
  temperature: { type: "string" },
  "top-k": { type: "string" },
  "top-p": { type: "string" },
  "min-p": { type: "string" },
  "repetition-penalty": { type: "string" },
  "frequency-penalty": { type: "string" },
  "presence-penalty": { type: "string" },
  seed: { type: "string" },
  stop: { type: "string", multiple: true },
  "json-schema": { type: "string" },
} as const;

export const ANSWER_USAGE = `  --max-tokens N       longest answer, in tokens; default 256
  --temperature X      0 (default) takes the likeliest token each time; with more, tokens are drawn
  --top-k N            draw from the N likeliest tokens
  --top-p X            draw from the likeliest tokens that together have this probability
  --min-p X            draw from tokens at least X times as likely as the likeliest
  --repetition-penalty X, --frequency-penalty X, --presence-penalty X
                       make tokens less likely that were already used
  --seed N             same seed, same answer
  --stop TEXT          ends the answer where it would appear; may be given several times
  --json-schema FILE   the answer is JSON that is valid by this schema`;

type Values<Flags> = { readonly [Name in keyof Flags]?: Flags[Name] extends { multiple: true } ? string[] : string };

export function answerOptions(values: Values<typeof ANSWER_FLAGS>): ChatOptions {
  return {
    maxTokens: integer("max-tokens", values["max-tokens"], 1),
    temperature: number("temperature", values.temperature),
    topK: integer("top-k", values["top-k"], 0),
    topP: number("top-p", values["top-p"]),
    minP: number("min-p", values["min-p"]),
    repetitionPenalty: number("repetition-penalty", values["repetition-penalty"]),
    frequencyPenalty: number("frequency-penalty", values["frequency-penalty"]),
    presencePenalty: number("presence-penalty", values["presence-penalty"]),
    seed: integer("seed", values.seed, 0),
    stop: values.stop,
    format: values["json-schema"] === undefined ? undefined : schemaFormat(values["json-schema"]),
  };
}

function schemaFormat(path: string): ChatOptions["format"] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new InputError(`--json-schema: ${path}: ${code === "ENOENT" ? "no such file" : `cannot be read (${code})`}`);
  }
  try {
    return { type: "json_schema", schema: JSON.parse(text) };
  } catch (cause) {
    throw new InputError(`--json-schema: ${path}: expected JSON: ${(cause as Error).message}`, { cause });
  }
}

/** Whether an answer that has a form, such as JSON, may have ended before it was complete. */
export const isCutOff = (hasForm: boolean, result: Result | undefined): boolean =>
  hasForm && result?.finishReason === "length";

export const CUT_OFF = `${pc.yellow("warning:")} the answer reached --max-tokens and may lack the end of its JSON`;

/** Flags of every command that reads videos. */
export const VIDEO_FLAGS = {
  frames: { type: "string" },
  "frame-rule": { type: "string" },
  "frame-size": { type: "string" },
  "tokens-per-frame": { type: "string" },
  start: { type: "string" },
  end: { type: "string" },
  fps: { type: "string" },
  timestamps: { type: "boolean" },
} as const;

export const VIDEO_USAGE = `  --frames N           frames that are seen of a video; default 8
  --frame-rule RULE    centres (default) of N equal parts, or linspace: from the first frame to the last
  --start S, --end S   the part of the video that is seen, in seconds
  --frame-size N       side of the square that frames become, a multiple of 64; default: as for images
  --tokens-per-frame N a square number: average each frame's features to so many
  --fps X              frames per second of a folder of pictures; default 1
  --timestamps         tell the model when each frame was`;

export function videoOptions(
  values: Values<Omit<typeof VIDEO_FLAGS, "timestamps">> & { readonly timestamps?: boolean },
): VideoOptions {
  return {
    frames: integer("frames", values.frames, 1),
    rule: choice("frame-rule", values["frame-rule"], "centres", "linspace"),
    imageSize: integer("frame-size", values["frame-size"], 64),
    tokensPerFrame: integer("tokens-per-frame", values["tokens-per-frame"], 1),
    start: number("start", values.start),
    end: number("end", values.end),
    fps: number("fps", values.fps),
    timestamps: values.timestamps,
  };
}

/** What is shown, then what is asked. */
export function contentOf(
  images: readonly string[],
  videos: readonly string[],
  text: string,
  options: VideoOptions,
): ContentPart[] {
  return [
    ...images.map((image): ContentPart => ({ type: "image", image })),
    ...videos.map((video): ContentPart => ({ type: "video", video, ...options })),
    { type: "text", text },
  ];
}
