// The public interface, the same in Node and browsers.

export { type Folder, memoryFolder } from "../weights/folder.ts";
export { httpFolder } from "../weights/http_folder.ts";
export * from "./errors.ts";
export type { AdapterSummary, SubgroupMatrix } from "./gpu/device.ts";
export type { Pixels } from "./image/pixels.ts";
export { FastVLM } from "./pipeline/fastvlm.ts";
export type { Logprobs, SamplingOptions } from "./pipeline/sampling.ts";
export type { Session } from "./pipeline/session.ts";
export type { AnswerFormat } from "./pipeline/structured.ts";
export type {
  ChatOptions,
  Composition,
  ContentPart,
  GenerateOptions,
  ImageInput,
  LoadOptions,
  Message,
  Piece,
  Progress,
  Result,
  SessionOptions,
  Source,
  Timings,
  Usage,
} from "./pipeline/types.ts";
export { readVideo } from "./video/read.ts";
export type { Clip, FrameRule, VideoInput, VideoOptions } from "./video/types.ts";
