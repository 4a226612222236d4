import { FastVLMError, InputError } from "../errors.ts";
import { CACHE_USAGE, cache } from "./cache.ts";
import { CAPTION_USAGE, caption } from "./caption.ts";
import { CHAT_USAGE, chat } from "./chat.ts";
import { DEMO_USAGE, demo } from "./demo.ts";
import { describe } from "./describe.ts";
import { DOCTOR_USAGE, runDoctor } from "./doctor.ts";
import { GENERATE_USAGE, generate } from "./generate.ts";
import { INSPECT_USAGE, inspect } from "./inspect.ts";
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

generate, chat and caption use the tiny checkpoint that comes with the program, or with --model DIR one of yours.
Each command lists its flags with --help.`;

interface Command {
  readonly usage: string;
  readonly run: (args: readonly string[]) => Promise<void>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  generate: { usage: GENERATE_USAGE, run: generate },
  chat: { usage: CHAT_USAGE, run: chat },
  caption: { usage: CAPTION_USAGE, run: caption },
  inspect: { usage: INSPECT_USAGE, run: inspect },
  quantize: { usage: QUANTIZE_USAGE, run: quantize },
  cache: { usage: CACHE_USAGE, run: cache },
  doctor: { usage: DOCTOR_USAGE, run: runDoctor },
  demo: { usage: DEMO_USAGE, run: demo },
};

async function main([name, ...args]: readonly string[]): Promise<void> {
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  const isHelp = name === undefined || name === "help" || name === "--help" || name === "-h";
  if (isHelp || args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${command?.usage ?? USAGE}\n`);
    return;
  }
  if (!command) {
    throw new InputError(`unknown command "${name}": expected ${Object.keys(COMMANDS).join(", ")}`, {
      hint: "fastvlm help",
    });
  }
  await command.run(args);
}

process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  // Work goes on when nobody reads what is said about it, as in `fastvlm … 2>&1 | head`.
  if (error.code !== "EPIPE") throw error;
});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader went away, as in `fastvlm … | head`.
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = error instanceof FastVLMError ? 2 : 1;
  process.stderr.write(describe(error));
});
