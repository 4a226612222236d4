import { rename, rm, writeFile } from "node:fs/promises";
import pc from "picocolors";
import { InputError } from "../errors.ts";
import { FastVLM } from "../node.ts";
import type { Composition, Result, Source } from "../pipeline/types.ts";
import { choice, integer, parseFlags } from "./args.ts";
import { loadProgress } from "./progress.ts";

export const GENERATE_USAGE = `fastvlm generate --model DIR [--image FILE …] --prompt TEXT

  --model DIR          checkpoint folder or address (FastVLM, or text-only Phi-4 / Qwen2)
  --vision DIR         with --language, and --projector: put a model together from parts
  --image FILE         JPEG, PNG or WebP, path or address; may be given several times
  --prompt TEXT        the question
  --system TEXT        replaces the system prompt
  --max-tokens N       longest answer, in tokens; default 256
  --dtype f32|f16      precision; default: as stored, where the adapter can
  --resize pad|crop    how an image becomes square; default: the checkpoint's way
  --image-size N       side of that square in pixels, a multiple of 64
  --no-orientation     do not turn photos upright by their EXIF tag
  --trace FILE         write every stage of the run as safetensors
  --profile            print GPU time per kernel
  --json               print one JSON object instead of text`;

const FLAGS = {
  model: { type: "string" },
  vision: { type: "string" },
  projector: { type: "string" },
  language: { type: "string" },
  image: { type: "string", multiple: true },
  prompt: { type: "string" },
  system: { type: "string" },
  "max-tokens": { type: "string" },
  dtype: { type: "string" },
  resize: { type: "string" },
  "image-size": { type: "string" },
  "no-orientation": { type: "boolean" },
  trace: { type: "string" },
  profile: { type: "boolean" },
  json: { type: "boolean" },
} as const;

/** `fastvlm generate`: one question, one answer. */
export async function generate(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, "fastvlm generate --help lists the flags.");
  const prompt = values.prompt ?? positionals.join(" ");
  if (prompt === "")
    throw new InputError("--prompt: expected a question, got none", {
      hint: 'For example: --prompt "What is in this picture?"',
    });
  const options = {
    dtype: choice("dtype", values.dtype, "f32", "f16"),
    resize: choice("resize", values.resize, "pad", "crop"),
    imageSize: integer("image-size", values["image-size"], 64),
    orientation: !values["no-orientation"],
    profile: values.profile,
  };
  const maxTokens = integer("max-tokens", values["max-tokens"], 1);
  using vlm = await FastVLM.load(sourceOf(values), { ...options, onProgress: loadProgress(process.stderr) });
  let result: Result | undefined;
  const request = { prompt, images: values.image, system: values.system, maxTokens, trace: values.trace !== undefined };
  for await (const piece of vlm.generate(request)) {
    if (!values.json) process.stdout.write(piece.text);
    result = piece.result ?? result;
  }
  if (!result) return;
  const { trace, ...printed } = result;
  if (trace && values.trace) await writeWhole(values.trace, trace);
  process.stdout.write(values.json ? `${JSON.stringify(printed)}\n` : "\n");
  if (!values.json && process.stderr.isTTY) process.stderr.write(`${pc.dim(summary(result))}\n`);
  if (values.profile) await printProfile(vlm);
}

/** The checkpoint, or the parts of several, that the flags name. */
export function sourceOf(values: {
  model?: string;
  vision?: string;
  projector?: string;
  language?: string;
}): Source | Composition {
  const { model, vision, projector, language } = values;
  if (vision === undefined && projector === undefined && language === undefined) {
    if (model !== undefined) return model;
    throw new InputError("--model: expected a checkpoint folder, got none", {
      hint: "For example a download of apple/FastVLM-0.5B.",
    });
  }
  if (model !== undefined)
    throw new InputError("--model: expected either --model or --vision with --language, got both");
  if (vision === undefined || language === undefined) {
    throw new InputError(
      `--${vision === undefined ? "vision" : "language"}: expected a folder; a composed model needs --vision and --language`,
    );
  }
  return { vision, language, ...(projector !== undefined && { projector }) };
}

export function summary({ timings, usage, adapter }: Result): string {
  const ms = (value: number): string => `${value.toFixed(0)} ms`;
  return [
    `first token ${ms(timings.firstToken)} (preprocess ${ms(timings.preprocess)}, vision ${ms(timings.vision)}, prefill ${ms(timings.prefill)})`,
    `${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`,
    `${usage.promptTokens} + ${usage.completionTokens} tokens`,
    adapter.description,
  ].join(" · ");
}

async function printProfile(vlm: FastVLM): Promise<void> {
  if (!vlm.gpu.profiler) throw new InputError("--profile: this adapter has no timestamp queries");
  for (const { kernel, runs, ms } of await vlm.gpu.profiler.report()) {
    process.stderr.write(`${ms.toFixed(2).padStart(10)} ms ${String(runs).padStart(6)} × ${kernel}\n`);
  }
}

/** Writes under a temporary name first, so that an interrupted write leaves no half file. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, bytes);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new InputError(`${path}: cannot be written`, {
      cause,
      hint: "Check that the folder exists and may be written to.",
    });
  }
}
