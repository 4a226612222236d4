import { InputError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { planResize, preprocess } from "../image/preprocess.ts";
import type { FastVLMModel, PromptToken } from "../models/fastvlm.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ChatMessage, ChatTemplate } from "../text/chat_template.ts";
import { renderPrompt } from "../text/chat_template.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import { tokenizePrompt } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { contextFor, Generation } from "./generation.ts";
import { loadModel } from "./load.ts";
import { uploadPixels } from "./pixels.ts";
import { platform } from "./platform.ts";
import { Trace } from "./trace.ts";
import type { Composition, GenerateOptions, ImageInput, LoadOptions, Piece, Result, Source } from "./types.ts";

const DEFAULT_MAX_TOKENS = 256;

/** Everything `load` puts together. */
export interface Loaded {
  readonly gpu: Gpu;
  readonly model: FastVLMModel;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly stopTokens: ReadonlySet<number>;
  readonly imageSize: number;
  readonly resize: "pad" | "crop";
  readonly orientation: boolean;
  readonly loadMs: number;
}

/**
 * A vision-language model on a GPU, ready to answer.
 *
 * @example
 * const vlm = await FastVLM.load("./FastVLM-0.5B");
 * for await (const { text } of vlm.generate({ images: ["photo.jpg"], prompt: "What is in this picture?" })) {
 *   process.stdout.write(text);
 * }
 * vlm.close();
 */
export class FastVLM {
  readonly gpu: Gpu;
  readonly model: FastVLMModel;
  readonly tokenizer: Tokenizer;
  readonly #loaded: Loaded;

  private constructor(loaded: Loaded) {
    this.#loaded = loaded;
    this.gpu = loaded.gpu;
    this.model = loaded.model;
    this.tokenizer = loaded.tokenizer;
  }

  /**
   * Opens a checkpoint as published and puts it on the GPU.
   *
   * @param source  a FastVLM folder (transformers or Apple format), a text-only Phi or Qwen2 folder, or parts of several
   * @throws CheckpointError, WeightError, ConfigError when the checkpoint is incomplete or of another architecture
   * @throws AdapterError when there is no usable GPU adapter
   */
  static async load(source: Source | Composition, options: LoadOptions = {}): Promise<FastVLM> {
    return new FastVLM(await loadModel(source, options));
  }

  /**
   * Answers a prompt about images, one piece of text at a time.
   *
   * Pieces arrive as soon as they are whole characters. Stops at the end-of-turn token, at `maxTokens`, or when `signal`
   * aborts (the iterator then throws the signal's reason); the last piece carries the whole result.
   *
   * @throws ImageError when bytes are not an image this runtime can decode
   * @throws ContextError when prompt and answer need more tokens than the model's context; nothing has run by then
   */
  async *generate(options: GenerateOptions): AsyncGenerator<Piece, void, undefined> {
    const { maxTokens = DEFAULT_MAX_TOKENS, signal } = options;
    if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
      throw new InputError(`maxTokens: expected a positive integer, got ${maxTokens}`);
    }
    const started = performance.now();
    const prompt = this.#prompt(options);
    const imageTokens = this.#checkContext(prompt, maxTokens);
    const pixels = await this.#preprocess(options.images ?? [], signal);
    const preprocessed = performance.now();

    const trace = options.trace ? new Trace(this.gpu) : undefined;
    trace?.record();
    let generation: Generation | undefined;
    try {
      const features = await this.#see(pixels, signal);
      const seen = performance.now();
      try {
        generation = new Generation(this.model, prompt, features, { maxTokens, vocabulary: this.tokenizer.vocabSize });
      } finally {
        for (const tokens of features) this.gpu.release(tokens);
      }
      let token = await generation.prefill();
      const first = performance.now();
      trace?.record((name) => name === "logits");
      const detokenizer = new Detokenizer(this.tokenizer);
      const tokens: number[] = [];
      let text = "";
      for (;;) {
        tokens.push(token);
        trace?.token(token);
        const stopped = this.#loaded.stopTokens.has(token);
        const piece = stopped ? "" : detokenizer.push(token);
        text += piece;
        yield { text: piece, token };
        signal?.throwIfAborted();
        if (stopped || tokens.length === maxTokens) break;
        token = await generation.step();
      }
      const ended = performance.now();
      const rest = detokenizer.flush();
      trace?.stop();
      const result: Result = {
        text: text + rest,
        tokens,
        finishReason: this.#loaded.stopTokens.has(tokens.at(-1)!) ? "stop" : "length",
        usage: { promptTokens: generation.promptTokens, imageTokens, completionTokens: tokens.length },
        timings: {
          load: this.#loaded.loadMs,
          preprocess: preprocessed - started,
          vision: seen - preprocessed,
          prefill: first - seen,
          firstToken: first - started,
          decodeTokensPerSecond: tokens.length > 1 ? ((tokens.length - 1) * 1000) / (ended - first) : 0,
        },
        adapter: this.gpu.adapter,
        ...(trace && { trace: await trace.encode() }),
      };
      yield { text: rest, result };
    } finally {
      trace?.discard();
      generation?.free();
    }
  }

  /** Frees the GPU. The model cannot be used afterwards. */
  close(): void {
    this.gpu.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #prompt({ prompt, images = [], system }: GenerateOptions): PromptToken[] {
    const messages: ChatMessage[] = [
      ...(system === undefined ? [] : [{ role: "system" as const, content: system }]),
      { role: "user", content: [...images.map(() => ({ type: "image" as const })), { type: "text", text: prompt }] },
    ];
    return tokenizePrompt(renderPrompt(messages, this.#loaded.template), this.tokenizer);
  }

  /** Number of image tokens; throws before any GPU work when prompt and answer do not fit. */
  #checkContext(prompt: readonly PromptToken[], maxTokens: number): number {
    const { imageSize } = this.#loaded;
    const images = prompt.filter((token) => typeof token !== "number").length;
    const imageTokens = images === 0 ? 0 : images * this.model.imageTokens(imageSize, imageSize);
    contextFor(prompt.length - images + imageTokens, maxTokens, this.model.decoder.config.maxPositions);
    return imageTokens;
  }

  async #preprocess(
    images: readonly ImageInput[],
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    const { imageSize: size, resize: mode, orientation } = this.#loaded;
    const result: Uint8Array<ArrayBuffer>[] = [];
    for (const image of images) {
      signal?.throwIfAborted();
      const bytes = typeof image === "string" ? await platform().readFile(image, signal) : image;
      const pixels = bytes instanceof Uint8Array ? await platform().decodeImage(bytes, { orientation }) : bytes;
      result.push(preprocess(pixels, planResize(pixels.width, pixels.height, { mode, size })));
    }
    return result;
  }

  /** Squares of RGB bytes → image tokens [N, D] each, on the GPU. */
  async #see(images: readonly Uint8Array<ArrayBuffer>[], signal: AbortSignal | undefined): Promise<Tensor[]> {
    const { imageSize: size } = this.#loaded;
    const features: Tensor[] = [];
    try {
      for (const bytes of images) {
        signal?.throwIfAborted();
        const input = uploadPixels(this.gpu, bytes, [1, size, size, 3], this.model.dtype);
        try {
          const tokens = this.gpu.scope(() => this.gpu.keep(this.model.encode(input)));
          features.push(tokens.reshape(tokens.shape.slice(1)));
        } finally {
          this.gpu.release(input);
        }
        await this.gpu.settled();
      }
      return features;
    } catch (error) {
      for (const tokens of features) this.gpu.release(tokens);
      throw error;
    }
  }
}
