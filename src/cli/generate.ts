import pc from "picocolors";
import { InputError } from "../errors.ts";
import { nameOf } from "../gpu/device.ts";
import type { FastVLM } from "../node.ts";
import type { ChatOptions, Message, Result } from "../pipeline/types.ts";
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
import { checkPlace, writeWhole } from "./files.ts";
import { finish, loadFrom, MODEL_FLAGS, MODEL_USAGE } from "./model.ts";
import { status } from "./progress.ts";

export const GENERATE_USAGE = `fastvlm generate [--image FILE …] [--video FILE …] [--prompt] TEXT

  --image FILE         JPEG, PNG or WebP; a path or an address; may be given several times
  --video FILE         MP4, MOV or WebM, a path or an address, or a folder of frames; may be given several times
  --prompt TEXT        the question; the flag may be left out
  --system TEXT        replaces the system prompt
${ANSWER_USAGE}
${VIDEO_USAGE}
${MODEL_USAGE}
  --trace FILE         write every stage of the run as safetensors
  --profile            print GPU time per kernel
  --json               print one JSON object instead of text

The spellings of Apple's script, --model-path, --image-file and --image_path, --video_path, work too.`;

const FLAGS = {
  ...MODEL_FLAGS,
  ...ANSWER_FLAGS,
  ...VIDEO_FLAGS,
  image: { type: "string", multiple: true },
  video: { type: "string", multiple: true },
  prompt: { type: "string" },
  system: { type: "string" },
  trace: { type: "string" },
  profile: { type: "boolean" },
  json: { type: "boolean" },
} as const;

/** `fastvlm generate`: one question, one answer. */
export async function generate(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, "fastvlm generate --help lists the flags.");
  const oneByOne = "Repeat --image or --video for each file, and put a question of several words in quotes.";
  if (values.prompt !== undefined) noArguments("generate", positionals, oneByOne);
  const prompt = values.prompt ?? positionals.join(" ");
  if (prompt === "")
    throw new InputError("--prompt: expected a question, got none", {
      hint: 'For example: --prompt "What is in this picture?"',
    });
  const waiting = status(process.stderr);
  const onFrame = (done: number, total: number): void => waiting.say(`video: frame ${done} of ${total}`);
  const options: ChatOptions = {
    ...answerOptions(values),
    trace: values.trace !== undefined,
    onProgress: ({ stage, done, total }) => waiting.say(`${stage}: ${done} of ${total}`),
  };
  const clip = { ...videoOptions(values), onProgress: onFrame };
  const content = contentOf(values.image ?? [], values.video ?? [], prompt, clip);
  const messages: Message[] = [{ role: "user", content }];
  if (values.system !== undefined) messages.unshift({ role: "system", content: values.system });
  if (values.trace !== undefined) await checkPlace(values.trace);
  using vlm = await loadFrom(values, { profile: values.profile });
  let result: Result | undefined;
  for await (const piece of vlm.chat(messages, options)) {
    waiting.clear();
    if (!values.json) process.stdout.write(piece.text);
    result = piece.result ?? result;
  }
  if (!result) return;
  const { trace, ...printed } = result;
  process.stdout.write(values.json ? `${JSON.stringify(printed)}\n` : "\n");
  if (isCutOff(options.format !== undefined, result)) process.stderr.write(`${CUT_OFF}\n`);
  if (trace && values.trace) await writeWhole(values.trace, trace);
  if (!values.json && process.stderr.isTTY) process.stderr.write(`${pc.dim(summary(result))}\n`);
  if (values.profile) await printProfile(vlm);
  await finish(vlm);
}

export function summary({ timings, usage, adapter }: Result): string {
  const ms = (value: number): string => `${value.toFixed(0)} ms`;
  return [
    `first token ${ms(timings.firstToken)} (preprocess ${ms(timings.preprocess)}, vision ${ms(timings.vision)}, prefill ${ms(timings.prefill)})`,
    `${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`,
    `${usage.promptTokens} + ${usage.completionTokens} tokens`,
    nameOf(adapter),
  ].join(" · ");
}

async function printProfile(vlm: FastVLM): Promise<void> {
  if (!vlm.gpu.profiler) throw new InputError("--profile: this adapter has no timestamp queries");
  for (const { kernel, runs, ms } of await vlm.gpu.profiler.report()) {
    process.stderr.write(`${ms.toFixed(2).padStart(10)} ms ${String(runs).padStart(6)} × ${kernel}\n`);
  }
}
