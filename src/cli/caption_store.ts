import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { InputError } from "../errors.ts";
import { writeWhole } from "./files.ts";
import { lock } from "./lock.ts";

/** Where captions go, and which files have one. Names are paths relative to the folder, with `/` between parts. */
export interface CaptionStore {
  has(file: string): boolean;
  /** Resolves when the caption is on disk as a whole. */
  add(file: string, caption: string): Promise<void>;
  close(): void;
}

/**
 * The captions of a folder, for this process alone until they are closed.
 *
 * @param out the JSONL file. Default: `captions.jsonl` in the folder
 * @throws InputError when another process writes them, or they cannot be written
 */
export function openStore(format: "jsonl" | "txt", folder: string, out = join(folder, "captions.jsonl")): CaptionStore {
  const unlock = format === "txt" ? lock(join(folder, ".captions"), `${folder}: captions`) : lock(out, out);
  try {
    const store = format === "txt" ? textStore(folder) : jsonlStore(out);
    const close = (): void => {
      store.close();
      unlock();
    };
    return { ...store, close };
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * Captions as lines of one JSONL file, `{"file":…,"caption":…}`, in the order in which they are made.
 *
 * Lines are appended whole and synced. A line that a crash or a full disk cut off is removed when the file is opened.
 *
 * @throws InputError when the file cannot be written, or holds something else
 */
export function jsonlStore(path: string): CaptionStore {
  const done = new Set<string>();
  const end = existsSync(path) ? readLines(path, done) : 0;
  const fd = openForAppending(path);
  // Only what is torn off at the end goes; whole lines stay as they are.
  ftruncateSync(fd, end);
  return {
    has: (file) => done.has(file),
    async add(file, caption) {
      const line = Buffer.from(`${JSON.stringify({ file, caption })}\n`);
      // One call per line: nothing else in this process writes in between, and only the last line can ever be torn.
      for (let at = 0; at < line.length; ) at += writeSync(fd, line, at);
      fsyncSync(fd);
      done.add(file);
    },
    close: () => closeSync(fd),
  };
}

function openForAppending(path: string): number {
  try {
    return openSync(path, "a");
  } catch (cause) {
    throw new InputError(`${path}: cannot be written (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

/** Adds the files that have captions to `done`; returns the bytes of whole lines. */
function readLines(path: string, done: Set<string>): number {
  const bytes = readFileSync(path);
  const end = bytes.lastIndexOf(10) + 1;
  for (const [i, line] of bytes.subarray(0, end).toString("utf8").split("\n").entries()) {
    if (line.trim() === "") continue;
    const file = fileOf(line);
    if (file === undefined) {
      throw new InputError(`${path}: line ${i + 1}: expected {"file":…,"caption":…}, got ${line.slice(0, 60)}`, {
        hint: "Name another file with --out, or repair this one.",
      });
    }
    done.add(file);
  }
  return end;
}

function fileOf(line: string): string | undefined {
  try {
    const { file, caption } = JSON.parse(line) as { file?: unknown; caption?: unknown };
    return typeof file === "string" && typeof caption === "string" ? file : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Captions as text files beside the pictures, `photo.txt` for `photo.jpg`, as trainers of image models read them. Each is
 * written under another name and renamed.
 */
export function textStore(folder: string): CaptionStore {
  const path = (file: string): string => join(folder, dirname(file), `${basename(file, extname(file))}.txt`);
  return {
    has: (file) => existsSync(path(file)),
    // A killed run leaves at most one such file, which the next run of the same folder writes over.
    add: (file, caption) => writeWhole(path(file), `${caption}\n`, `${path(file)}.tmp`),
    close() {},
  };
}
