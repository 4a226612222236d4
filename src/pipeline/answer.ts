import { unlessAborted } from "../abort.ts";
import { InputError } from "../errors.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import { type Eyes, Generation, type GenerationOptions } from "./generation.ts";
import { Glances } from "./glances.ts";
import type { Loaded } from "./load.ts";
import type { Picture } from "./picture.ts";
import { checkSampling, Sampler } from "./sampling.ts";
import type { Sequence } from "./sequence.ts";
import { StopTexts } from "./stop_texts.ts";
import { constrain, formatGrammar } from "./structured.ts";
import { Trace } from "./trace.ts";
import type { ChatOptions, Piece, Result } from "./types.ts";

export const DEFAULT_MAX_TOKENS = 256;

/** @throws InputError when an option makes no sense */
export function checkOptions({ tokenizer }: Loaded, options: ChatOptions): void {
  const { maxTokens = DEFAULT_MAX_TOKENS } = options;
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new InputError(`maxTokens: expected a positive integer, got ${maxTokens}`);
  }
  new StopTexts(options.stop);
  checkSampling(options, tokenizer.vocabSize);
  if (options.format !== undefined) formatGrammar(options.format);
}

/** What is to be answered, with options that have been checked. */
export interface Question {
  readonly prompt: readonly (number | Picture)[];
  /** What earlier turns left; the answer's tokens are added. */
  readonly sequence: Sequence;
  readonly options: ChatOptions;
  /** When it was asked, by `performance.now()`. */
  readonly asked: number;
}

/** Answers a question, one piece of text at a time; the last piece carries the result. */
export async function* answer(loaded: Loaded, question: Question): AsyncGenerator<Piece, void, undefined> {
  const { signal, trace } = question.options;
  const glances = new Glances(loaded.vision);
  try {
    // A trace records every look.
    if (trace) for (const picture of picturesOf(question)) await picture.read(signal);
    else await glances.read(picturesOf(question), signal);
    yield* tell(loaded, question);
  } finally {
    await glances.release();
    for (const picture of picturesOf(question)) picture.dropPixels();
  }
}

/** The same, once the pictures have been read. */
async function* tell(loaded: Loaded, question: Question): AsyncGenerator<Piece, void, undefined> {
  const { signal, format } = question.options;
  const reading = performance.now();
  const trace = question.options.trace ? new Trace(loaded.gpu) : undefined;
  const constraint = format && (await unlessAborted(signal, constrain(format, loaded.tokenizer, loaded.stopTokens)));
  const cachedTokens = question.sequence.begin(question.prompt);
  const sampler = samplerFor(loaded, question);
  const generation = generationFor(loaded, question, { sampler, constraint, trace });
  try {
    const text = new AnswerText(loaded, question.options);
    const tokens: number[] = [];
    let first = 0;
    while (!text.ended) {
      const token = await generation.next();
      first ||= performance.now();
      tokens.push(token);
      trace?.token(token);
      const { logprobs } = generation;
      const piece = { text: text.push(token), token };
      yield logprobs ? { ...piece, logprob: logprobs.logprob, topLogprobs: logprobs.top } : piece;
      signal?.throwIfAborted();
    }
    const ended = performance.now();
    const rest = text.end();
    const imageTokens = picturesOf(question).reduce((sum, picture) => sum + picture.tokens, 0);
    const result: Result = {
      text: text.whole,
      tokens,
      finishReason: text.stopped ? "stop" : "length",
      usage: {
        promptTokens: question.sequence.length - tokens.length,
        cachedTokens,
        imageTokens,
        completionTokens: tokens.length,
      },
      timings: {
        load: loaded.loadMs,
        preprocess: reading - question.asked,
        vision: generation.visionMs,
        prefill: first - reading - generation.visionMs,
        firstToken: first - question.asked,
        decodeTokensPerSecond: tokens.length > 1 ? ((tokens.length - 1) * 1000) / (ended - first) : 0,
      },
      adapter: loaded.gpu.adapter,
      ...(trace && { trace: await trace.encode() }),
    };
    yield { text: rest, result };
  } finally {
    trace?.discard();
    generation.free();
  }
}

const isPicture = (item: number | Picture): item is Picture => typeof item !== "number";
const picturesOf = ({ prompt }: Question): Picture[] => prompt.filter(isPicture);

function samplerFor({ gpu, model, tokenizer }: Loaded, { prompt, options }: Question): Sampler {
  const context = prompt.filter((item) => typeof item === "number");
  return new Sampler(gpu, options, {
    vocabulary: tokenizer.vocabSize,
    columns: model.decoder.config.vocabSize,
    context,
  });
}

function generationFor(
  { gpu, vision, scheduler }: Loaded,
  question: Question,
  parts: Pick<GenerationOptions, "sampler" | "constraint" | "trace">,
): Generation {
  const { sequence, options } = question;
  const { signal, onProgress, maxTokens = DEFAULT_MAX_TOKENS } = options;
  const { trace } = parts;
  const during = trace && ((record: () => void) => trace.during(record));
  // A GPU that is the CPU reads for seconds: an abort shall not have to wait for what was submitted behind a look.
  const isAhead = !gpu.adapter.software && !during;
  const eyes: Eyes = {
    acquire: async () => {
      const needed = new Set(sequence.unreadSlots().map(({ key }) => key));
      const pictures = picturesOf(question).filter(({ key }) => needed.has(key));
      const onSeen = onProgress && ((done: number) => onProgress({ stage: "images", done, total: needed.size }));
      const options = { signal, during, onSeen };
      if (isAhead) return vision.look(pictures, options);
      return { tokens: await vision.acquire(pictures, options), seen: Promise.resolve() };
    },
    release: vision.release.bind(vision),
  };
  const onPart = onProgress && ((done: number) => onProgress({ stage: "prefill", done, total: sequence.length }));
  return new Generation(sequence, scheduler, { ...parts, eyes, signal, onPart, maxTokens });
}

/** Tokens → the text of an answer, up to where it ends. */
class AnswerText {
  /** All that has been given out. */
  whole = "";
  #tokens = 0;
  #stopToken = false;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopTexts;
  readonly #stopTokens: ReadonlySet<number>;
  readonly #maxTokens: number;

  constructor({ tokenizer, stopTokens }: Loaded, { stop, maxTokens = DEFAULT_MAX_TOKENS }: ChatOptions) {
    this.#detokenizer = new Detokenizer(tokenizer);
    this.#stops = new StopTexts(stop);
    this.#stopTokens = stopTokens;
    this.#maxTokens = maxTokens;
  }

  /** The model, or a stop text, has ended the answer. */
  get stopped(): boolean {
    return this.#stopToken || this.#stops.found;
  }

  get ended(): boolean {
    return this.stopped || this.#tokens === this.#maxTokens;
  }

  /** What can be given out now. */
  push(token: number): string {
    this.#tokens++;
    this.#stopToken = this.#stopTokens.has(token);
    return this.#give(this.#stopToken ? "" : this.#stops.push(this.#detokenizer.push(token)));
  }

  /** What was held back. */
  end(): string {
    return this.#give(this.#stops.push(this.#detokenizer.flush()) + this.#stops.flush());
  }

  #give(text: string): string {
    this.whole += text;
    return text;
  }
}
