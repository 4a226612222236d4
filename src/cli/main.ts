import pc from "picocolors";
import { FastVLMError, InputError } from "../errors.ts";
import { demo } from "./demo.ts";
import { runDoctor } from "./doctor.ts";
import { GENERATE_USAGE, generate } from "./generate.ts";
import { inspect } from "./inspect.ts";

const USAGE = `fastvlm: ask questions about images, on your own GPU

  fastvlm generate --model DIR --image photo.jpg --prompt "What is in this picture?"
  fastvlm inspect DIR      what a checkpoint is, without loading it
  fastvlm doctor           the GPU adapter, and what would make it faster
  fastvlm demo             one answer from the test checkpoint

  fastvlm generate --help lists the flags.`;

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  generate,
  inspect,
  doctor: runDoctor,
  demo,
};

async function main([command, ...args]: readonly string[]): Promise<void> {
  if (command === undefined || command === "help" || command === "--help" || command === "-h") {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${command === "generate" ? GENERATE_USAGE : USAGE}\n`);
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
  if (!(error instanceof FastVLMError)) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
    return;
  }
  process.stderr.write(`${pc.red("error:")} ${error.message}\n`);
  if (error.hint) process.stderr.write(`${pc.dim("hint:")}  ${error.hint}\n`);
  process.exitCode = 2;
});
