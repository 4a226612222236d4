import type { Folder } from "../../weights/folder.ts";
import type { AdapterSummary } from "../gpu/device.ts";
import type { Pixels } from "../image/pixels.ts";

/** A checkpoint folder: a path (Node), a web address, or an object that reads files. */
export type Source = string | Folder;

/** A model put together from parts of several checkpoints. */
export interface Composition {
  /** Folder with a FastViTHD tower: a FastVLM checkpoint, or a tower alone. */
  readonly vision: Source;
  /** Folder with the projector, usually the vision folder's. Default: `vision` */
  readonly projector?: Source;
  /** Folder with a Phi-4, Phi-4-mini or Qwen2 language model, and its tokenizer. */
  readonly language: Source;
}

export interface LoadOptions {
  /** Element type of weights, tower activations and KV cache. Default: f16 where stored so and the adapter can, else f32 */
  readonly dtype?: "f32" | "f16" | undefined;
  /** Side of the square that images are resized to, in pixels, a multiple of 64. Default: the checkpoint's, usually 1024 */
  readonly imageSize?: number | undefined;
  /** `pad` to a square (Apple's code), or `crop` the long side (transformers' processor). Default: the checkpoint's own */
  readonly resize?: "pad" | "crop" | undefined;
  /** Turn photos upright by their EXIF tag. Default true; Apple's script does not. */
  readonly orientation?: boolean | undefined;
  /** Measure GPU time per kernel, for `vlm.gpu.profiler`. Default false */
  readonly profile?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called as weights arrive. */
  readonly onProgress?: ((loadedBytes: number, totalBytes: number) => void) | undefined;
}

/** An image: encoded bytes, a path or web address, or decoded RGB pixels. */
export type ImageInput = string | Uint8Array<ArrayBuffer> | Pixels;

export interface GenerateOptions {
  /** The question. */
  readonly prompt: string;
  /** Shown before the question, in order. Default: none */
  readonly images?: readonly ImageInput[] | undefined;
  /** Replaces the template's own system prompt. */
  readonly system?: string | undefined;
  /** Upper bound on generated tokens. Default 256 */
  readonly maxTokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Records every stage; see `Trace`. */
  readonly trace?: boolean | undefined;
}

/** Part of an answer. Joined, the texts are the answer. */
export interface Piece {
  /** Whole characters; may be empty while a character is incomplete. */
  readonly text: string;
  /** Id of the token that brought this piece; absent in the last one. */
  readonly token?: number;
  /** In the last piece only. */
  readonly result?: Result;
}

export interface Result {
  readonly text: string;
  /** Generated ids, the stop token included. */
  readonly tokens: readonly number[];
  /** `stop`: the model ended its turn. `length`: `maxTokens` was reached. */
  readonly finishReason: "stop" | "length";
  readonly usage: Usage;
  readonly timings: Timings;
  readonly adapter: AdapterSummary;
  /** A safetensors file, when `trace` was asked for. */
  readonly trace?: Uint8Array<ArrayBuffer>;
}

export interface Usage {
  /** Tokens of the whole prompt, those of images included. */
  readonly promptTokens: number;
  readonly imageTokens: number;
  readonly completionTokens: number;
}

/** Milliseconds, but for the rate. */
export interface Timings {
  /** Opening the checkpoint, reading the weights, compiling. */
  readonly load: number;
  /** Reading, decoding and resizing the images. */
  readonly preprocess: number;
  /** Tower and connector. */
  readonly vision: number;
  /** The language model's pass over the prompt, up to the first token. */
  readonly prefill: number;
  /** From the call to the first token: time to first token. */
  readonly firstToken: number;
  readonly decodeTokensPerSecond: number;
}
