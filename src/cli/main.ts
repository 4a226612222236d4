import { FastVLMError, InputError } from "../errors.ts";
import { CACHE_USAGE, cache } from "./cache.ts";
import { CAPTION_USAGE, caption } from "./caption.ts";
import { CHAT_USAGE, chat } from "./chat.ts";
import { demo } from "./demo.ts";
import { describe } from "./describe.ts";
import { runDoctor } from "./doctor.ts";
import { GENERATE_USAGE, generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { QUANTIZE_USAGE, quantize } from "./quantize.ts";

const USAGE = `fastvlm: ask questions about images and videos, on your own GPU

  fastvlm generate --image photo.jpg --prompt "What is in this picture?"
  fastvlm chat             a conversation
  fastvlm caption FOLDER   a caption for every picture of a folder
  fastvlm inspect DIR      what a checkpoint is, without loading it
  fastvlm quantize IN OUT  the same model in a quarter of the space
  fastvlm cache            what is kept between starts
  fastvlm doctor           the GPU adapter, and what would make it faster
  fastvlm demo             questions about sample pictures

With --model DIR they use a checkpoint of yours, else the tiny one that comes with the program.
generate, chat, caption, quantize and cache list their flags with --help.`;

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  generate,
  chat,
  caption,
  inspect,
  quantize,
  cache,
  doctor: runDoctor,
  demo,
};
const USAGES: Readonly<Record<string, string>> = {
  generate: GENERATE_USAGE,
  chat: CHAT_USAGE,
  caption: CAPTION_USAGE,
  quantize: QUANTIZE_USAGE,
  cache: CACHE_USAGE,
};

async function main([command, ...args]: readonly string[]): Promise<void> {
  if (command === undefined || command === "help" || command === "--help" || command === "-h") {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${Object.hasOwn(USAGES, command) ? USAGES[command] : USAGE}\n`);
    return;
  }
  const run = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
  if (!run) {
    throw new InputError(`unknown command "${command}": expected ${Object.keys(COMMANDS).join(", ")}`, {
      hint: "fastvlm help",
    });
  }
  await run(args);
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader went away, as in `fastvlm … | head`.
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = error instanceof FastVLMError ? 2 : 1;
  process.stderr.write(describe(error));
});
