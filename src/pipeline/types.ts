import type { Folder } from "../../weights/folder.ts";
import type { AdapterSummary } from "../gpu/device.ts";
import type { Pixels } from "../image/pixels.ts";
import type { Activations, QuantFormat } from "../tensor/quantized.ts";
import type { VideoInput, VideoOptions } from "../video/types.ts";
import type { Logprobs, SamplingOptions } from "./sampling.ts";
import type { AnswerFormat } from "./structured.ts";

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
  /**
   * Rounds the language model's matrices to a few bits as they arrive: a quarter of the memory and more tokens a second, for
   * answers that differ a little. Default: as stored
   */
  readonly quantize?: QuantFormat | undefined;
  /**
   * What `quantize` makes of the embedding and the output head, which every token passes. Fewer bits save most on small models
   * with large vocabularies: 70 MB of FastVLM-0.5B. Default int8
   */
  readonly embeddings?: QuantFormat | undefined;
  /**
   * `int8` permits that matrices of codes are multiplied with inputs rounded to 8 bits, in prompts of more than 64 tokens: a quarter
   * of the multiplications on GPUs that have such products but no matrices of halfs, which are most in browsers, for answers that
   * differ a little more. Nothing changes elsewhere. Default `float`
   */
  readonly activations?: Activations | undefined;
  /**
   * Keeps what `quantize` made in the user's cache folder, so that the next start reads that and not the numbers. Node only.
   * Default true
   */
  readonly cache?: boolean | undefined;
  /**
   * On a GPU, times the shaders that could compute the same, once per adapter and model, for 3 seconds at most, and keeps what
   * is fastest in the user's cache folder or the page's storage. False neither measures nor uses what was kept. Default true
   */
  readonly autotune?: boolean | undefined;
  /** Side of the square that images are resized to, in pixels, a multiple of 64. Default: the checkpoint's, usually 1024 */
  readonly imageSize?: number | undefined;
  /** `pad` to a square (Apple's code), or `crop` the long side (transformers' processor). Default: the checkpoint's own */
  readonly resize?: "pad" | "crop" | undefined;
  /** Turn photos upright by their EXIF tag. Default true; Apple's script does not. */
  readonly orientation?: boolean | undefined;
  /** Measure GPU time per kernel, for `vlm.gpu.profiler`. Default false */
  readonly profile?: boolean | undefined;
  /** Bytes of image tokens kept on the GPU, so that a picture asked about again is not looked at again. Default 256 MiB */
  readonly imageCacheBytes?: number | undefined;
  /** Stops loading, wherever it is; `load` then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called as weights arrive. */
  readonly onProgress?: ((loadedBytes: number, totalBytes: number) => void) | undefined;
  /** Told what is worth knowing but stops nothing, such as weights beyond the f16 range. Default `console.warn` */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * An image: encoded bytes, a path, a web address, a `data:` URL, or decoded RGB pixels. Bytes and pixels must stay as they are until
 * the answer has ended.
 */
export type ImageInput = string | Uint8Array<ArrayBuffer> | Pixels;

/**
 * Part of a message, in the shape of OpenAI's API. A video is the sequence of its frames. Within a turn, templates place
 * images before texts.
 */
export type ContentPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly image: ImageInput }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } }
  | ({ readonly type: "video"; readonly video: VideoInput } & VideoOptions)
  | ({ readonly type: "video_url"; readonly video_url: { readonly url: string } } & VideoOptions);

/** One turn of a conversation: text, or texts and any number of images in order. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string | readonly ContentPart[];
}

/** How far an answer has come before its first token. */
export interface Progress {
  /** `images` are seen, in pictures; the prompt is read (`prefill`), in tokens. What is already known counts as done. */
  readonly stage: "images" | "prefill";
  readonly done: number;
  readonly total: number;
}

export interface ChatOptions extends SamplingOptions {
  /** Upper bound on generated tokens. Default 256 */
  readonly maxTokens?: number | undefined;
  /** Texts that end the answer; they are not part of it. Default: none */
  readonly stop?: string | readonly string[] | undefined;
  /** What the answer must look like, such as JSON of a schema. Default: anything */
  readonly format?: AnswerFormat | undefined;
  /**
   * Stops the answer, wherever it is: at once while it waits for a look of another, else as soon as the GPU has done what it is at for this
   * answer. The iterator then throws the signal's reason.
   */
  readonly signal?: AbortSignal | undefined;
  /** Records every stage; see `Trace`. Such an answer looks at its images anew and is decoded by itself. */
  readonly trace?: boolean | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface GenerateOptions extends ChatOptions {
  /** The question. */
  readonly prompt: string;
  /** Shown before the question, in order. Default: none */
  readonly images?: readonly ImageInput[] | undefined;
  /** Replaces the template's own system prompt. */
  readonly system?: string | undefined;
}

/** A conversation's settings; the options of an answer are defaults for all of its answers. */
export interface SessionOptions extends Omit<ChatOptions, "signal" | "trace" | "onProgress"> {
  /** How the conversation begins, such as with a system prompt; `reset` returns to it. Default: with nothing */
  readonly messages?: readonly Message[] | undefined;
  /**
   * What happens when the conversation, the new question and `maxTokens` do not fit the context: `error` throws a
   * ContextError, `drop-oldest` forgets the oldest questions and answers until a quarter of the context is free, but never a
   * system prompt. Default `error`
   */
  readonly overflow?: "error" | "drop-oldest" | undefined;
}

/** Part of an answer. Joined, the texts are the answer. */
export interface Piece {
  /** Whole characters; may be empty while a character is incomplete, or while a stop text may be beginning. */
  readonly text: string;
  /** Id of the token that brought this piece; absent in the last one. */
  readonly token?: number;
  /** Log probability of the token, when `logprobs` was asked for. */
  readonly logprob?: number;
  /** The likeliest tokens at its place, likeliest first, as many as `logprobs` asked for. */
  readonly topLogprobs?: Logprobs["top"];
  /** In the last piece only. */
  readonly result?: Result;
}

export interface Result {
  readonly text: string;
  /** Generated ids, the stop token included. */
  readonly tokens: readonly number[];
  /** `stop`: the model ended its turn, or a stop text came up. `length`: `maxTokens` was reached. */
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
  /** Tokens of the prompt that the KV cache had from earlier turns. */
  readonly cachedTokens: number;
  readonly imageTokens: number;
  readonly completionTokens: number;
}

/** Milliseconds, but for the rate. */
export interface Timings {
  /** Opening the checkpoint, reading the weights, compiling. */
  readonly load: number;
  /** Making the prompt; reading and decoding the images, and resizing those that the CPU resizes, and clips. */
  readonly preprocess: number;
  /** Tower and connector, and resizing where the GPU does that. */
  readonly vision: number;
  /** The language model's pass over what is new of the prompt, up to the first token. */
  readonly prefill: number;
  /** From the call to the first token: time to first token. */
  readonly firstToken: number;
  readonly decodeTokensPerSecond: number;
}
