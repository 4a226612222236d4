import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { InputError } from "../errors.ts";
import { unwritable } from "./files.ts";

/** Who has a lock, as its file says. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly since: string;
}

/** Time in which a lock's file may be there and not be written yet, in ms. */
const WRITING = 5000;

/**
 * Makes this process the only one that writes `path`, by a file `path.lock` beside it. One that a killed process left behind
 * is taken over.
 *
 * @param what   what is being written, for the error
 * @returns      gives the lock back
 * @throws InputError when another process has it, or the file cannot be written
 */
export function lock(path: string, what: string): () => void {
  // Links to one file have one lock.
  const file = `${existsSync(path) ? realpathSync(path) : path}.lock`;
  const owner: Owner = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  const mine = `${JSON.stringify(owner)}\n`;
  while (!create(file, mine)) {
    const found = textOf(file);
    if (found === undefined) continue; // it was given back just now
    if (!isAbandoned(file, found)) throw taken(what, file, found);
    // Of those who find it abandoned one makes the next file, which becomes the lock in one step.
    const next = `${file}.next`;
    if (!create(next, mine)) throw taken(what, next, textOf(next) ?? "");
    if (textOf(file) === found) {
      renameSync(next, file);
      break;
    }
    rmSync(next, { force: true });
  }
  return () => {
    if (textOf(file) === mine) rmSync(file, { force: true });
  };
}

/** Whether the file is made now, and was not there before. */
function create(file: string, text: string): boolean {
  let made: number | undefined;
  try {
    made = openSync(file, "wx");
    writeFileSync(made, text);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    // A lock without an owner, as on a full disk, would keep the next run out.
    if (made !== undefined) rmSync(file, { force: true });
    throw unwritable(file, cause);
  } finally {
    if (made !== undefined) closeSync(made);
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function ownerIn(text: string): Owner | undefined {
  try {
    const { pid, host, since } = JSON.parse(text) as Partial<Owner>;
    return Number.isSafeInteger(pid) && typeof host === "string" && typeof since === "string"
      ? { pid: pid!, host, since }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the process that made the lock is gone. Of another machine's nothing can be known. */
function isAbandoned(file: string, text: string): boolean {
  const owner = ownerIn(text);
  if (!owner) return Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > WRITING;
  // This process has no lock yet: the number was another's before, as is usual in containers.
  return owner.host === hostname() && (owner.pid === process.pid || !isRunning(owner.pid));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function taken(what: string, file: string, text: string): InputError {
  const owner = ownerIn(text);
  const who = owner
    ? `process ${owner.pid}${owner.host === hostname() ? "" : ` on ${owner.host}`} is, since ${owner.since}`
    : "another process is";
  return new InputError(`${what} is being written already: ${who}`, {
    hint: `Wait for it, or stop it. If there is no such process, remove ${file}`,
  });
}
