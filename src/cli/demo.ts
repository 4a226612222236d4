import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import pc from "picocolors";
import { InputError } from "../errors.ts";
import { FastVLM } from "../node.ts";
import type { Result } from "../pipeline/types.ts";
import { parseFlags } from "./args.ts";
import { summary } from "./generate.ts";

const path = (file: string): string => fileURLToPath(new URL(`../../test/golden/${file}`, import.meta.url));
const MODEL = path("models/fastvlm_hf");
const PICTURE = path("preprocess/exif_6.jpg");

/**
 * `fastvlm demo`, what `npm start` runs: picture and question to text, on the checkpoint that the tests compare with PyTorch.
 * Its weights are random, so its words are noise; the way they come about is the whole product's.
 */
export async function demo(args: readonly string[]): Promise<void> {
  parseFlags(args, {}, "fastvlm demo");
  if (!existsSync(MODEL)) {
    throw new InputError("demo: the test checkpoint is only in a checkout of the repository", {
      hint: 'With a checkpoint of yours: fastvlm generate --model DIR --image photo.jpg --prompt "What is in this picture?"',
    });
  }
  using vlm = await FastVLM.load(MODEL);
  const { adapter } = vlm.gpu;
  const prompt = "What is in this picture?";
  process.stdout.write(
    `${pc.bold("FastVLM")} on ${adapter.description}${adapter.software ? pc.yellow(" (software: slow, for trying out)") : ""}\n`,
  );
  process.stdout.write(
    `picture   ${PICTURE}\nmodel     ${MODEL} (random weights: the words are noise)\n${pc.cyan(`? ${prompt}`)}\n  `,
  );
  let result: Result | undefined;
  for await (const piece of vlm.generate({ images: [PICTURE], prompt, maxTokens: 24 })) {
    process.stdout.write(JSON.stringify(piece.text).slice(1, -1));
    result = piece.result ?? result;
  }
  process.stdout.write(`\n${result ? `  ${pc.dim(summary(result))}\n` : ""}
For real answers download a FastVLM checkpoint, such as apple/FastVLM-0.5B, and ask it:
  npx fastvlm generate --model DIR --image photo.jpg --prompt "What is in this picture?"
`);
}
