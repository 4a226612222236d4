import { createInterface } from "node:readline";
import pc from "picocolors";
import { FastVLMError, GpuError } from "../errors.ts";
import type { Session } from "../pipeline/session.ts";
import type { Message, Piece } from "../pipeline/types.ts";
import type { VideoOptions } from "../video/types.ts";
import {
  ANSWER_FLAGS,
  ANSWER_USAGE,
  answerOptions,
  CUT_OFF,
  contentOf,
  isCutOff,
  VIDEO_FLAGS,
  VIDEO_USAGE,
  videoOptions,
} from "./answer_flags.ts";
import { noArguments, parseFlags } from "./args.ts";
import { type Attached, Attachments, COMMAND_USAGE, culprit, nameOf, readCommand, save } from "./chat_commands.ts";
import { describe } from "./describe.ts";
import { historyFile, readHistory, writeHistory } from "./history.ts";
import { finish, loadFrom, MODEL_FLAGS, MODEL_USAGE } from "./model.ts";
import { status } from "./progress.ts";

export const CHAT_USAGE = `fastvlm chat [--image FILE …] [--video FILE …] [flags]

A conversation: each line is a question. Also reads questions from a pipe or file.

${COMMAND_USAGE}

Ctrl-C stops an answer; once more leaves.

  --image FILE, --video FILE
                       shown with the first question; may be given several times
  --system TEXT        replaces the system prompt
${ANSWER_USAGE}
${VIDEO_USAGE}
${MODEL_USAGE}`;

const FLAGS = {
  ...MODEL_FLAGS,
  ...ANSWER_FLAGS,
  ...VIDEO_FLAGS,
  image: { type: "string", multiple: true },
  video: { type: "string", multiple: true },
  system: { type: "string" },
} as const;

/** `fastvlm chat`: questions and answers until /exit, the end of the input, or Ctrl-C twice. */
export async function chat(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, "fastvlm chat --help lists the flags.");
  noArguments("chat", positionals, "Repeat --image or --video for each file.");
  const clip = videoOptions(values);
  const options = answerOptions(values);
  const attached = new Attachments();
  for (const path of values.image ?? []) await attached.image(path);
  for (const path of values.video ?? []) await attached.video(path);
  using vlm = await loadFrom(values);
  const messages: Message[] = values.system === undefined ? [] : [{ role: "system", content: values.system }];
  using session = vlm.session({ ...options, messages, overflow: "drop-oldest" });
  await new Conversation(session, attached, clip, options.format !== undefined).run();
  await finish(vlm);
}

class Conversation {
  readonly #session: Session;
  readonly #attached: Attachments;
  readonly #clip: VideoOptions;
  readonly #hasForm: boolean;
  readonly #terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  /** Of the answer in the making. */
  #answer: AbortController | undefined;
  /** Ctrl-C since the last line. */
  #interrupts = 0;

  /** @param hasForm whether answers have a form to keep to */
  constructor(session: Session, attached: Attachments, clip: VideoOptions, hasForm: boolean) {
    this.#session = session;
    this.#attached = attached;
    this.#clip = clip;
    this.#hasForm = hasForm;
  }

  async run(): Promise<void> {
    const file = historyFile();
    const input = createInterface({
      input: process.stdin,
      output: this.#terminal ? process.stdout : undefined,
      terminal: this.#terminal,
      prompt: pc.cyan("? "),
      ...(this.#terminal && { history: readHistory(file), historySize: 1000, removeHistoryDuplicates: true }),
    });
    if (this.#terminal) input.on("history", (lines: string[]) => writeHistory(file, lines));
    const interrupt = (): void => this.#interrupt(() => input.close());
    // A terminal in raw mode sends Ctrl-C as a key; elsewhere it is a signal.
    input.on("SIGINT", interrupt);
    process.on("SIGINT", interrupt);
    const lines = input[Symbol.asyncIterator]();
    try {
      this.#note("/help lists the commands.");
      for (;;) {
        if (this.#terminal) input.prompt();
        const { done, value } = await lines.next();
        if (done || !(await this.#take(value.trim()))) break;
      }
    } finally {
      process.off("SIGINT", interrupt);
      input.close();
    }
  }

  /** Returns whether the conversation goes on. */
  async #take(line: string): Promise<boolean> {
    this.#interrupts = 0;
    try {
      const command = readCommand(line);
      if (command?.name === "exit") return false;
      if (command) await this.#command(command.name, command.argument);
      else if (line !== "") await this.#ask(line);
    } catch (error) {
      // A mistake leaves the conversation as it was; without its GPU there is none.
      if (!(error instanceof FastVLMError) || error instanceof GpuError) throw error;
      process.stderr.write(describe(error));
      if (!this.#terminal) process.exitCode = 2;
    }
    return this.#interrupts < 2;
  }

  async #command(name: "image" | "video" | "forget" | "reset" | "save" | "help", argument: string): Promise<void> {
    if (name === "help") process.stdout.write(`${COMMAND_USAGE}\n`);
    else if (name === "save") this.#note(`saved as ${await save(argument, this.#session.messages)}`);
    else if (name === "forget") {
      this.#attached.take();
      this.#note("Nothing is shown with the next question.");
    } else if (name === "reset") {
      this.#session.reset();
      this.#attached.take();
      this.#note("The conversation begins anew.");
    } else {
      await this.#attached[name](argument);
      this.#note("It is shown with the next question.");
    }
  }

  async #ask(question: string): Promise<void> {
    const shown = this.#attached.take();
    const waiting = status(process.stderr);
    let videosRead = 0;
    const onFrame = (done: number, total: number): void => {
      waiting.say(`video: frame ${done} of ${total}`);
      if (done === total) videosRead++;
    };
    const content = contentOf(shown.images, shown.videos, question, { ...this.#clip, onProgress: onFrame });
    const answer = new AbortController();
    this.#answer = answer;
    let last: Piece | undefined;
    try {
      const { signal } = answer;
      const onProgress = ({ stage, done, total }: { stage: string; done: number; total: number }): void =>
        waiting.say(`${stage}: ${done} of ${total}`);
      for await (const piece of this.#session.ask(content, { signal, onProgress })) {
        waiting.clear();
        process.stdout.write(piece.text);
        last = piece;
      }
      process.stdout.write("\n");
      if (isCutOff(this.#hasForm, last?.result)) process.stderr.write(`${CUT_OFF}\n`);
    } catch (error) {
      waiting.clear();
      const stopped = answer.signal.aborted;
      if (stopped) {
        process.stdout.write("\n");
        this.#note("Stopped.");
      }
      if (error instanceof GpuError) throw error;
      if (!last) this.#showAgain(shown, stopped ? undefined : culprit(error as Error, shown, videosRead));
      if (!stopped) throw error;
    } finally {
      waiting.clear();
      this.#answer = undefined;
    }
  }

  /** A question without an answer is no part of the conversation, so that what it was to show is not seen yet. */
  #showAgain(shown: Attached, without: string | undefined): void {
    this.#attached.putBack(shown, without);
    if (without !== undefined) process.stderr.write(`${nameOf(without)} is left out from here on, for this reason:\n`);
    else if (shown.images.length + shown.videos.length > 0) {
      process.stderr.write(`${pc.dim("What was to be shown goes with the next question, unless you /forget it.")}\n`);
    }
  }

  #interrupt(leave: () => void): void {
    this.#interrupts++;
    this.#answer?.abort();
    if (this.#interrupts >= 2) {
      process.exitCode = 130;
      leave();
    } else if (!this.#answer) this.#note("\nCtrl-C again leaves.");
  }

  /** Words about the conversation, not of it: only for a person at a terminal. */
  #note(text: string): void {
    if (this.#terminal) process.stdout.write(`${pc.dim(text)}\n`);
  }
}
