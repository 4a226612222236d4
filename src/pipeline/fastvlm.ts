import type { Gpu } from "../gpu/gpu.ts";
import type { FastVLMModel } from "../models/fastvlm.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { answer, checkOptions, DEFAULT_MAX_TOKENS } from "./answer.ts";
import { checkContext } from "./context.ts";
import { type Loaded, loadModel } from "./load.ts";
import { contextLength, Sequence } from "./sequence.ts";
import { Session } from "./session.ts";
import { messagesOf, readTurns, renderTurns } from "./turns.ts";
import type {
  ChatOptions,
  Composition,
  GenerateOptions,
  LoadOptions,
  Message,
  Piece,
  SessionOptions,
  Source,
} from "./types.ts";

/**
 * A vision-language model on a GPU, ready to answer.
 *
 * Any number of answers may be in the making at once: those that overlap are decoded together, and each is the same as if
 * it were alone.
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
   * Answers the last message of a conversation, one piece of text at a time.
   *
   * Pieces arrive as soon as they are whole characters that begin no stop text. The answer ends at the end-of-turn token, at
   * a stop text, at `maxTokens`, or when `signal` aborts (the iterator then throws the signal's reason); the last piece
   * carries the whole result. Leaving the loop early frees what the answer held.
   *
   * @throws InputError when a message or an option is malformed, or a file cannot be read
   * @throws ImageError when bytes are not an image this runtime can decode
   * @throws ContextError when prompt and answer need more tokens than the model's context; by then
   *         videos have been decoded, and nothing has been seen
   */
  async *chat(messages: readonly Message[], options: ChatOptions = {}): AsyncGenerator<Piece, void, undefined> {
    const asked = performance.now();
    checkOptions(this.#loaded, options);
    const prompt = renderTurns(this.#loaded, await readTurns(this.#loaded, messages, options.signal));
    const limit = this.model.decoder.contextLimit(this.model.dtype);
    checkContext(contextLength(prompt), options.maxTokens ?? DEFAULT_MAX_TOKENS, limit);
    const sequence = new Sequence(this.model);
    try {
      yield* answer(this.#loaded, { prompt, sequence, options, asked });
    } finally {
      sequence.free();
    }
  }

  /** Answers one prompt about images: `chat` with one message, and a system prompt if there is one. */
  async *generate(options: GenerateOptions): AsyncGenerator<Piece, void, undefined> {
    const { prompt, images, system, ...rest } = options;
    yield* this.chat(messagesOf({ prompt, images, system }), rest);
  }

  /** Begins a conversation that remembers its turns and what the model has read of them. Sessions share seen images. */
  session(options: SessionOptions = {}): Session {
    return new Session(this.#loaded, options);
  }

  /**
   * Resolves when what `quantize` made is kept for the next start, with true; or with false when nothing is kept, because the
   * cache is off or full or has it already. Until then it is written whenever nobody asks anything; this says that nobody will.
   */
  async whenKept(): Promise<boolean> {
    const { keeping } = this.#loaded;
    keeping?.hurry();
    return (await keeping?.done) ?? false;
  }

  /** Frees the GPU, after what `whenKept` waits for. The model cannot be used afterwards. */
  close(): void {
    if (this.#loaded.keeping?.running) void this.whenKept().then(() => this.gpu.close());
    else this.gpu.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
