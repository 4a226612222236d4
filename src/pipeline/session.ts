import { InputError } from "../errors.ts";
import { answer, checkOptions, DEFAULT_MAX_TOKENS } from "./answer.ts";
import { checkContext } from "./context.ts";
import type { Loaded } from "./load.ts";
import type { Picture } from "./picture.ts";
import { contextLength, Sequence } from "./sequence.ts";
import { shown } from "./shown.ts";
import { readTurns, renderTurns, type Turn } from "./turns.ts";
import type { ChatOptions, Message, Piece, SessionOptions } from "./types.ts";

/** Share of the context that is in use after turns were dropped. */
const ROOMY = 0.75;

/**
 * A conversation. It keeps what the model has read, so that a follow-up reads only what is new, and no image twice.
 *
 * A turn is kept from its first piece on: an answer that is aborted, fails, or whose loop is left early stays as far as its
 * text was given out, and the conversation goes on from there. A question that fails before, for example because it does not
 * fit the context, leaves the conversation as it was.
 */
export class Session {
  readonly #loaded: Loaded;
  readonly #options: Omit<SessionOptions, "messages" | "overflow">;
  readonly #opening: readonly Message[];
  readonly #overflow: "error" | "drop-oldest";
  readonly #sequence: Sequence;
  readonly #closing = new AbortController();
  /** Absent until the first question, which reads the opening. */
  #turns: Turn[] | undefined;
  #busy = false;

  constructor(loaded: Loaded, options: SessionOptions) {
    const { messages = [], overflow = "error", ...rest } = options;
    if (overflow !== "error" && overflow !== "drop-oldest") {
      throw new InputError(`overflow: expected error or drop-oldest, got ${String(overflow)}`);
    }
    if (!Array.isArray(messages)) throw new InputError(`messages: expected a list, got ${shown(messages)}`);
    checkOptions(loaded, rest);
    this.#loaded = loaded;
    this.#options = rest;
    this.#opening = [...messages];
    this.#overflow = overflow;
    this.#sequence = new Sequence(loaded.model);
  }

  /** The conversation so far: the opening, questions, and answers. */
  get messages(): readonly Message[] {
    return this.#turns?.map(({ message }) => message) ?? this.#opening;
  }

  /**
   * Asks a question, and yields the answer as `FastVLM.chat` does.
   *
   * @param options override those of the session
   * @throws InputError while another answer of this session is in the making, and once it is closed
   * @throws ContextError when the conversation does not fit the context; with `drop-oldest`, when this question alone does not
   */
  async *ask(content: Message["content"], options: ChatOptions = {}): AsyncGenerator<Piece, void, undefined> {
    this.#enter("ask");
    try {
      yield* this.#ask(content, { ...this.#options, ...options });
    } finally {
      this.#busy = false;
      if (this.#closing.signal.aborted) this.#sequence.free();
    }
  }

  /** Forgets all turns but the opening, and frees their memory. */
  reset(): void {
    this.#enter("reset");
    this.#busy = false;
    this.#turns = undefined;
    this.#sequence.free();
  }

  /** Ends the conversation, and an answer in the making, and frees its memory. Safe to call twice. */
  close(): void {
    this.#closing.abort(new InputError("session: it was closed"));
    if (!this.#busy) this.#sequence.free();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #enter(what: string): void {
    this.#closing.signal.throwIfAborted();
    if (this.#busy) {
      throw new InputError(`session.${what}: an answer of this session is still in the making`, {
        hint: "Read it to its end, leave its loop, or abort it; or use a session of its own.",
      });
    }
    this.#busy = true;
  }

  async *#ask(content: Message["content"], options: ChatOptions): AsyncGenerator<Piece, void, undefined> {
    const asked = performance.now();
    const loaded = this.#loaded;
    const closing = this.#closing.signal;
    const signal = options.signal ? AbortSignal.any([options.signal, closing]) : closing;
    checkOptions(loaded, options);
    this.#turns ??= await readTurns(loaded, this.#opening, signal);
    const earlier = this.#turns;
    const [question] = await readTurns(loaded, [{ role: "user", content }], signal, earlier.length);
    const { turns, prompt } = this.#fit([...earlier, question!], options.maxTokens ?? DEFAULT_MAX_TOKENS);
    let text = "";
    for await (const piece of answer(loaded, {
      prompt,
      sequence: this.#sequence,
      options: { ...options, signal },
      asked,
    })) {
      text += piece.text;
      this.#turns = [...turns, { message: { role: "assistant", content: text }, content: text, pictures: [] }];
      yield piece;
    }
  }

  /** As many of the turns as fit, and the prompt they amount to. The question is the last turn. */
  #fit(all: readonly Turn[], maxTokens: number): { turns: readonly Turn[]; prompt: (number | Picture)[] } {
    const { model } = this.#loaded;
    const limit = model.decoder.contextLimit(model.dtype);
    let turns = all;
    let prompt = renderTurns(this.#loaded, turns);
    const needed = (): number => contextLength(prompt) + maxTokens;
    if (this.#overflow === "drop-oldest" && needed() > limit) {
      // The rest is read anew after its beginning is gone: making room for several turns makes that rare.
      for (
        let fewer = withoutOldest(turns);
        needed() > limit * ROOMY && fewer !== turns;
        fewer = withoutOldest(turns)
      ) {
        turns = fewer;
        prompt = renderTurns(this.#loaded, turns);
      }
    }
    checkContext(contextLength(prompt), maxTokens, limit);
    return { turns, prompt };
  }
}

/** Drops the oldest question with its answer; system prompts and the last turn stay. */
function withoutOldest(turns: readonly Turn[]): readonly Turn[] {
  const isSystem = ({ message }: Turn): boolean => message.role === "system";
  const from = turns.findIndex((turn) => !isSystem(turn));
  const next = turns.findIndex((turn, i) => i > from && turn.message.role === "user");
  if (next < 0) return turns;
  return [...turns.slice(0, from), ...turns.slice(from, next).filter(isSystem), ...turns.slice(next)];
}
