import { readFile } from "node:fs/promises";
import { join } from "node:path";
import pc from "picocolors";
import { FastVLM } from "../node.ts";
import type { Result } from "../pipeline/types.ts";
import { parseFlags } from "./args.ts";
import { EMBEDDED, summary } from "./generate.ts";

interface Samples {
  readonly pictures: readonly { readonly file: string; readonly questions: readonly string[] }[];
}

/** `fastvlm demo`, what `npm start` runs: the embedded model answers questions about its sample pictures. */
export async function demo(args: readonly string[]): Promise<void> {
  parseFlags(args, {}, "fastvlm demo");
  const folder = join(EMBEDDED, "samples");
  const { pictures } = JSON.parse(await readFile(join(folder, "samples.json"), "utf8")) as Samples;
  using vlm = await FastVLM.load(EMBEDDED);
  const { adapter } = vlm.gpu;
  process.stdout.write(`${pc.bold("FastVLM")} on ${adapter.description}${adapter.software ? pc.yellow(" (software: slow, for trying out)") : ""}\n`);
  for (const { file, questions } of pictures) {
    const picture = join(folder, file);
    process.stdout.write(`\nPicture: ${picture}\n`);
    for (const prompt of questions) {
      process.stdout.write(`${pc.cyan(`? ${prompt}`)}\n  `);
      let result: Result | undefined;
      for await (const piece of vlm.generate({ images: [picture], prompt })) {
        process.stdout.write(piece.text);
        result = piece.result ?? result;
      }
      process.stdout.write(`\n${result ? `  ${pc.dim(summary(result))}\n` : ""}`);
    }
  }
  process.stdout.write(`
This model is small and was trained on drawn scenes. For photographs, download a FastVLM checkpoint and ask it:
  npx fastvlm generate --model DIR --image photo.jpg --prompt "What is in this picture?"
`);
}
