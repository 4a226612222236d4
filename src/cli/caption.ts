import { readdir, readFile, stat } from "node:fs/promises";
import { join, parse, relative, resolve, sep } from "node:path";
import pc from "picocolors";
import { ImageError, InputError } from "../errors.ts";
import type { FastVLM } from "../node.ts";
import type { ChatOptions, Result } from "../pipeline/types.ts";
import { ANSWER_FLAGS, ANSWER_USAGE, answerOptions, CUT_OFF, isCutOff } from "./answer_flags.ts";
import { choice, integer, parseFlags } from "./args.ts";
import { type CaptionStore, openStore } from "./caption_store.ts";
import { finish, loadFrom, MODEL_FLAGS, MODEL_USAGE } from "./model.ts";
import { ProgressBar } from "./progress.ts";

const PROMPT = "Describe the image.";
const PARALLEL = 4;
const PICTURE = /\.(jpe?g|png|webp)$/i;

export const CAPTION_USAGE = `fastvlm caption FOLDER [--prompt TEXT] [--format jsonl|txt]

Writes a caption for every JPEG, PNG and WebP file of a folder. What has one is skipped, so that a run that was stopped, in
whatever way, goes on where it was. A folder has one run at a time. Files that are no pictures are reported and left out; the
exit code is then 1.

  --prompt TEXT        what is asked of every picture; default: ${PROMPT}
  --system TEXT        replaces the system prompt
  --format jsonl|txt   one file of lines {"file":…,"caption":…} (default), or photo.txt beside each photo.jpg
  --out FILE           the JSONL file; default: FOLDER/captions.jsonl. Pictures are named by their paths from FOLDER; in a file
                       outside FOLDER by those from the file's own folder, so that several FOLDERs can share it
  --recursive          the folder's folders too
  --parallel N         pictures that are answered together; default ${PARALLEL}
${ANSWER_USAGE}
${MODEL_USAGE}`;

const FLAGS = {
  ...MODEL_FLAGS,
  ...ANSWER_FLAGS,
  prompt: { type: "string" },
  system: { type: "string" },
  format: { type: "string" },
  out: { type: "string" },
  recursive: { type: "boolean" },
  parallel: { type: "string" },
} as const;

/** `fastvlm caption FOLDER`: a caption for every picture, once. */
export async function caption(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, "fastvlm caption --help lists the flags.");
  const [folder] = positionals;
  if (folder === undefined || positionals.length > 1) {
    throw new InputError(`caption: expected one folder, got ${positionals.length}`, { hint: "fastvlm caption FOLDER" });
  }
  const format = choice("format", values.format, "jsonl", "txt") ?? "jsonl";
  if (format === "txt" && values.out !== undefined) {
    throw new InputError("--out: expected only with --format jsonl; text files lie beside the pictures");
  }
  const parallel = integer("parallel", values.parallel, 1, 64) ?? PARALLEL;
  const files = await picturesIn(folder, values.recursive ?? false);
  if (format === "txt") checkNames(files);
  const store = openStore(format, folder, values.out);
  const left = files.filter((file) => !store.has(file));
  const skipped = files.length - left.length;
  try {
    if (left.length === 0) {
      process.stderr.write(`${summary(0, skipped, 0)}\n`);
      return;
    }
    using vlm = await loadFrom(values);
    const ask = { prompt: values.prompt ?? PROMPT, system: values.system, ...answerOptions(values) };
    const { made, failed } = await captionAll(vlm, folder, left, store, ask, parallel);
    process.stderr.write(`${summary(made, skipped, failed)}\n`);
    // Ctrl-C has a code of its own, which says that more is to come.
    if (failed > 0) process.exitCode ??= 1;
    await finish(vlm);
  } finally {
    store.close();
  }
}

interface Ask extends ChatOptions {
  readonly prompt: string;
  readonly system: string | undefined;
}

async function captionAll(
  vlm: FastVLM,
  folder: string,
  files: readonly string[],
  store: CaptionStore,
  ask: Ask,
  parallel: number,
): Promise<{ made: number; failed: number }> {
  const stopping = new AbortController();
  // Captions in the making are given up; those on disk are whole. A second Ctrl-C ends the process at once.
  const stop = (): void => stopping.abort(new Stopped());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  const progress = new ProgressBar(process.stderr, files.length);
  const queue = files.values();
  let made = 0;
  let failed = 0;
  const work = async (): Promise<void> => {
    for (const file of queue) {
      stopping.signal.throwIfAborted();
      try {
        const { text, cutOff } = await captionOf(vlm, join(folder, file), { ...ask, signal: stopping.signal });
        await store.add(file, text);
        made++;
        if (cutOff) progress.line(`${CUT_OFF}: ${file}`);
      } catch (error) {
        if (!(error instanceof ImageError || error instanceof UnreadableError)) throw error;
        failed++;
        progress.line(`${pc.yellow("skipped")} ${file}: ${error.message}`);
      }
      progress.step();
    }
  };
  try {
    const all = Array.from({ length: Math.min(parallel, files.length) }, work);
    // One that fails takes the others along, so that none runs on with the model gone.
    for (const one of all) one.catch((reason: unknown) => stopping.abort(reason));
    await Promise.allSettled(all);
    stopping.signal.throwIfAborted();
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    progress.clear();
    process.stderr.write("stopped; the same command goes on from here\n");
    process.exitCode = 130;
  } finally {
    progress.clear();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, stop);
  }
  return { made, failed };
}

class Stopped extends Error {}
/** A file that is there and cannot be read is that file's problem, as a damaged one is. */
class UnreadableError extends Error {}

async function captionOf(vlm: FastVLM, path: string, ask: Ask): Promise<{ text: string; cutOff: boolean }> {
  // Read here, so that an InputError below is about the flags, which would fail every picture.
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new UnreadableError(`cannot be read (${cause.code})`, { cause });
  });
  let text = "";
  let result: Result | undefined;
  for await (const piece of vlm.generate({ ...ask, images: [new Uint8Array(bytes)] })) {
    text += piece.text;
    result = piece.result;
  }
  return { text: text.trim(), cutOff: isCutOff(ask.format !== undefined, result) };
}

/** Names of the pictures in a folder, in order, relative to it. */
async function picturesIn(folder: string, recursive: boolean): Promise<string[]> {
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) throw new InputError(`${folder}: expected a folder`);
  const entries = await readdir(folder, { withFileTypes: true, recursive });
  const root = resolve(folder);
  const files = entries
    .filter((entry) => !entry.isDirectory() && PICTURE.test(entry.name) && !entry.name.startsWith("."))
    .map((entry) => nameWithin(root, entry));
  if (files.length === 0) throw new InputError(`${folder}: expected JPEG, PNG or WebP files, found none`);
  return files.sort();
}

/** A file's name relative to a folder above it. Node before 20.12 calls an entry's folder `path`, and 20.0 lists one folder. */
export function nameWithin(root: string, entry: { name: string; parentPath?: string; path?: string }): string {
  const { name, parentPath, path } = entry;
  return relative(root, join(resolve(parentPath ?? path ?? root), name)).replaceAll(sep, "/");
}

/** @throws InputError when two pictures would have one text file */
function checkNames(files: readonly string[]): void {
  const owners = new Map<string, string>();
  for (const file of files) {
    const { dir, name } = parse(file);
    const other = owners.get(join(dir, name));
    if (other !== undefined) {
      throw new InputError(`caption: ${other} and ${file} would have the same text file`, {
        hint: "Rename one of them, or use --format jsonl.",
      });
    }
    owners.set(join(dir, name), file);
  }
}

function summary(made: number, skipped: number, failed: number): string {
  const parts = [`${made} captioned`];
  if (skipped > 0) parts.push(`${skipped} had a caption`);
  if (failed > 0) parts.push(pc.yellow(`${failed} could not be read`));
  return parts.join(", ");
}
