import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { basename, dirname, extname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { InputError } from "../errors.ts";
import { unwritable, writeWhole } from "./files.ts";
import { lock } from "./lock.ts";

const NEWLINE = 10;
/** Of every line that this program writes. */
const BEGINNING = '{"file":"';

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
    const store = format === "txt" ? textStore(folder) : jsonlStore(out, prefixOf(folder, out));
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
 * What goes before names relative to the folder in a JSONL file: nothing in the folder itself, else the way to the folder, so
 * that the same name in two folders is two pictures.
 */
function prefixOf(folder: string, out: string): string {
  const [pictures, captions] = [resolve(folder), dirname(resolve(out))];
  const below = relative(pictures, captions);
  const isOutside = below === ".." || below.startsWith(`..${sep}`) || isAbsolute(below);
  return isOutside ? `${relative(captions, pictures).replaceAll(sep, "/")}/` : "";
}

/**
 * Captions as lines of one JSONL file, `{"file":…,"caption":…}`, in the order in which they are made.
 *
 * Lines are appended whole and synced. A line that a crash cut off is removed when the file is opened; a last line that lacks
 * only its end, as some editors leave it, gets one.
 *
 * @param prefix goes before the names of files
 * @throws InputError when the file cannot be read or written, or holds something else
 */
export function jsonlStore(path: string, prefix = ""): CaptionStore {
  const done = new Set<string>();
  const bytes = existsSync(path) ? read(path) : Buffer.alloc(0);
  let end = readLines(path, bytes, done);
  const fd = attempt(path, () => openSync(path, "a"));
  const append = (text: string): void => {
    const line = Buffer.from(text);
    try {
      // In one go: nothing else in this process writes in between, and only the last line can ever be torn.
      for (let at = 0; at < line.length; ) at += writeSync(fd, line, at);
      fsyncSync(fd);
      end += line.length;
    } catch (cause) {
      // What did fit on the disk is no line, and must not have one behind it.
      ftruncateSync(fd, end);
      throw cause;
    }
  };
  attempt(path, () => {
    if (end < bytes.length) ftruncateSync(fd, end);
    if (end > 0 && bytes[end - 1] !== NEWLINE) append("\n");
  });
  return {
    has: (file) => done.has(prefix + file),
    async add(file, caption) {
      attempt(path, () => append(`${JSON.stringify({ file: prefix + file, caption })}\n`));
      done.add(prefix + file);
    },
    close: () => closeSync(fd),
  };
}

function attempt<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const what = code === "EISDIR" ? "expected a file, got a folder" : `cannot be read (${code})`;
    throw new InputError(`${path}: ${what}`, { cause, hint: "Name another file with --out." });
  }
}

/** Adds the files that have captions to `done`; returns the bytes of whole lines. */
function readLines(path: string, bytes: Buffer, done: Set<string>): number {
  const lines = bytes.toString("utf8").split("\n");
  const tail = lines.length - 1;
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const file = fileOf(line);
    if (file !== undefined) done.add(file);
    else if (i < tail || !isTorn(line)) {
      throw new InputError(`${path}: line ${i + 1}: expected {"file":…,"caption":…}, got ${line.slice(0, 60)}`, {
        hint: "Name another file with --out, or repair this one.",
      });
    }
  }
  return fileOf(lines[tail]!) === undefined ? bytes.lastIndexOf(NEWLINE) + 1 : bytes.length;
}

/** Whether it can be the first part of a line of captions. What is whole JSON is something else, of another program. */
function isTorn(line: string): boolean {
  const written = line.replace(/\0+$/, ""); // of a file that had grown when power failed, and of its text nothing
  try {
    JSON.parse(written);
    return false;
  } catch {
    return written.startsWith(BEGINNING) || BEGINNING.startsWith(written);
  }
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
