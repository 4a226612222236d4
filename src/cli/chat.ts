import { createInterface } from "node:readline";
import pc from "picocolors";
import { FastVLMError, GpuError } from "../errors.ts";
import type { Session } from "../pipeline/session.ts";
import type { Message } from "../pipeline/types.ts";
import type { VideoOptions } from "../video/types.ts";
import {
  ANSWER_FLAGS,
  ANSWER_USAGE,
  answerOptions,
  contentOf,
  VIDEO_FLAGS,
  VIDEO_USAGE,
  videoOptions,
} from "./answer_flags.ts";
import { noArguments, parseFlags } from "./args.ts";
import { Attachments, COMMAND_USAGE, readCommand, save } from "./chat_commands.ts";
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
  await new Conversation(session, attached, clip).run();
  await finish(vlm);
}

class Conversation {
  readonly #session: Session;
  readonly #attached: Attachments;
  readonly #clip: VideoOptions;
  readonly #terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  /** Of the answer in the making. */
  #answer: AbortController | undefined;
  /** Ctrl-C since the last line. */
  #interrupts = 0;

  constructor(session: Session, attached: Attachments, clip: VideoOptions) {
    this.#session = session;
    this.#attached = attached;
    this.#clip = clip;
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

  async #command(name: "image" | "video" | "reset" | "save" | "help", argument: string): Promise<void> {
    if (name === "help") process.stdout.write(`${COMMAND_USAGE}\n`);
    else if (name === "save") this.#note(`saved as ${await save(argument, this.#session.messages)}`);
    else if (name === "reset") {
      this.#session.reset();
      this.#attached.take();
      this.#note("The conversation begins anew.");
    } else {
      await this.#attached[name](argument);
      this.#note("It is shown with the next question.");
    }
  }

  async #ask(question: string): Promise<void> {
    const { images, videos } = this.#attached.take();
    const waiting = status(process.stderr);
    const onFrame = (done: number, total: number): void => waiting.say(`video: frame ${done} of ${total}`);
    const content = contentOf(images, videos, question, { ...this.#clip, onProgress: onFrame });
    const answer = new AbortController();
    this.#answer = answer;
    try {
      const { signal } = answer;
      const onProgress = ({ stage, done, total }: { stage: string; done: number; total: number }): void =>
        waiting.say(`${stage}: ${done} of ${total}`);
      for await (const { text } of this.#session.ask(content, { signal, onProgress })) {
        waiting.clear();
        process.stdout.write(text);
      }
      process.stdout.write("\n");
    } catch (error) {
      waiting.clear();
      if (!answer.signal.aborted) throw error;
      process.stdout.write("\n");
      this.#note("Stopped.");
    } finally {
      waiting.clear();
      this.#answer = undefined;
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
