import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import pc from "picocolors";
import { InputError } from "../errors.ts";
import { nameOf } from "../gpu/device.ts";
import { decodeImage } from "../image/decode.ts";
import { nodeCodecs } from "../node/image_codecs.ts";
import { FastVLM } from "../node.ts";
import type { Result } from "../pipeline/types.ts";
import { noArguments, parseFlags } from "./args.ts";
import { summary } from "./generate.ts";
import { halfBlocks } from "./half_blocks.ts";

export const DEMO_USAGE =
  "fastvlm demo: questions about sample pictures, answered by the checkpoint that comes with the program";

/** The embedded checkpoint: beside the sources in a checkout, inside `dist` in the package. */
export const EMBEDDED = fileURLToPath(new URL("../../weights/fastvlm-tiny", import.meta.url));

interface Scene {
  readonly what: string;
  /** One picture, or the frames of a clip. */
  readonly images: readonly string[];
  readonly questions: readonly string[];
}

const SCENES: readonly Scene[] = [
  {
    what: "picture",
    images: ["picture.jpg"],
    questions: ["What is in the picture?", "Where is the dog?", "What colour is the star?"],
  },
  { what: "picture", images: ["sign.jpg"], questions: ["What does it say?"] },
  {
    what: "clip",
    images: [1, 2, 3, 4, 5, 6].map((frame) => `clip/${frame}.jpg`),
    questions: ["What happens in the video?"],
  },
];

/** `fastvlm demo`, what `npm start` runs: questions about sample pictures and a clip, answered by the embedded checkpoint. */
export async function demo(args: readonly string[]): Promise<void> {
  const { positionals } = parseFlags(args, {}, DEMO_USAGE);
  noArguments("demo", positionals, DEMO_USAGE);
  if (!existsSync(EMBEDDED)) {
    throw new InputError(`demo: expected the embedded checkpoint at ${EMBEDDED}, found nothing`, {
      hint: "Reinstall the package, or check the repository out again.",
    });
  }
  const out = process.stdout;
  using vlm = await FastVLM.load(EMBEDDED);
  const { adapter } = vlm.gpu;
  out.write(
    `${pc.bold("FastVLM")} on ${nameOf(adapter)}${adapter.software ? pc.yellow(" (software: slow, for trying out)") : ""}\n`,
  );
  for (const { what, images, questions } of SCENES) {
    const paths = images.map((image) => `${EMBEDDED}/samples/${image}`);
    out.write(
      `\n${what}   ${relative(process.cwd(), paths[0]!)}${paths.length > 1 ? ` … ${paths.length} frames` : ""}\n`,
    );
    if (out.isTTY && out.getColorDepth() >= 24) await show(paths.length > 1 ? [paths[0]!, paths.at(-1)!] : paths);
    for (const prompt of questions) {
      out.write(`${pc.cyan(`? ${prompt}`)}\n  `);
      let result: Result | undefined;
      for await (const piece of vlm.generate({ images: paths, prompt, maxTokens: 64 })) {
        out.write(pc.bold(piece.text));
        result = piece.result ?? result;
      }
      out.write(`\n${result ? `  ${pc.dim(summary(result))}\n` : ""}`);
    }
  }
  out.write(`
That was the embedded model: 3 million weights, drawn things only. Ask it about a picture of yours, or talk to it:
  npx fastvlm generate --image ${relative(process.cwd(), `${EMBEDDED}/samples/sign.jpg`)} --prompt "Is there a key?"
  npx fastvlm chat
For photos, download a FastVLM checkpoint such as apple/FastVLM-0.5B:
  npx fastvlm generate --model DIR --image photo.jpg --prompt "What is in this picture?"
`);
}

/** Prints pictures side by side, small. */
async function show(paths: readonly string[]): Promise<void> {
  const pictures = await Promise.all(
    paths.map(async (path) => decodeImage(new Uint8Array(await readFile(path)), nodeCodecs, { orientation: true })),
  );
  const columns = Math.floor(Math.min(process.stdout.columns ?? 80, 72) / paths.length) - 2;
  const blocks = pictures.map((pixels) => halfBlocks(pixels, columns));
  for (let line = 0; line < blocks[0]!.length; line++) {
    process.stdout.write(`  ${blocks.map((rows) => rows[line] ?? "").join("  ")}\n`);
  }
}
