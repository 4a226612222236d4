import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { checkFileName, endsEarly, type Folder, missingFile, type ReadOptions } from "../../weights/folder.ts";
import { CheckpointError } from "../errors.ts";

/** Files are closed after this long without a read, so that nobody has to remember `close`. */
const IDLE_MS = 1000;

/**
 * A checkpoint folder on disk. Keeps one handle per file open between reads that follow each other closely.
 *
 * @throws CheckpointError when `path` is not a directory that can be read
 */
export async function nodeFolder(path: string): Promise<Folder> {
  const info = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(path, cause);
  });
  if (!info.isDirectory()) {
    throw new CheckpointError(`${path}: expected a folder, got a file`, {
      hint: "Pass the folder that holds config.json and model.safetensors.",
    });
  }
  return new NodeFolder(path);
}

class NodeFolder implements Folder {
  readonly name: string;
  readonly #open = new Map<string, Promise<FileHandle>>();
  #reading = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.name = path;
  }

  async size(file: string): Promise<number | undefined> {
    checkFileName(this.name, file);
    try {
      const info = await stat(join(this.name, file));
      return info.isFile() ? info.size : undefined;
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw unreadable(join(this.name, file), cause as NodeJS.ErrnoException);
    }
  }

  async version(file: string): Promise<string | undefined> {
    checkFileName(this.name, file);
    const info = await stat(join(this.name, file)).catch(() => undefined);
    return info && String(info.mtimeMs);
  }

  async read(
    file: string,
    start = 0,
    end?: number,
    { into, signal }: ReadOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    clearTimeout(this.#idle);
    this.#reading++;
    try {
      const handle = await this.#handle(file);
      const stop = end ?? (await handle.stat()).size;
      const target = into?.subarray(0, stop - start) ?? new Uint8Array(stop - start);
      let filled = 0;
      while (filled < target.length) {
        const { bytesRead } = await handle.read(target, filled, target.length - filled, start + filled);
        if (bytesRead === 0) throw endsEarly(this.name, file, stop, start + filled);
        filled += bytesRead;
      }
      return target;
    } catch (cause) {
      if (cause instanceof CheckpointError) throw cause;
      throw unreadable(join(this.name, file), cause as NodeJS.ErrnoException);
    } finally {
      this.#reading--;
      if (this.#reading === 0) this.#idle = setTimeout(() => void this.close(), IDLE_MS).unref();
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const handles = [...this.#open.values()];
    this.#open.clear();
    await Promise.allSettled(handles.map(async (handle) => (await handle).close()));
  }

  #handle(file: string): Promise<FileHandle> {
    checkFileName(this.name, file);
    const known = this.#open.get(file);
    if (known) return known;
    const opening = open(join(this.name, file), "r").catch((cause: NodeJS.ErrnoException) => {
      this.#open.delete(file);
      throw isAbsent(cause) ? missingFile(this.name, file, cause) : unreadable(join(this.name, file), cause);
    });
    this.#open.set(file, opening);
    return opening;
  }
}

const isAbsent = (error: unknown): boolean =>
  ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException | undefined)?.code ?? "");

function unreadable(path: string, cause: NodeJS.ErrnoException): CheckpointError {
  if (isAbsent(cause)) {
    return new CheckpointError(`${path}: no such folder`, { cause, hint: "Check the path of the checkpoint folder." });
  }
  const denied = cause.code === "EACCES" || cause.code === "EPERM";
  return new CheckpointError(`${path}: cannot be read (${cause.code ?? cause.message})`, {
    cause,
    ...(denied && { hint: "This user may not read it; change its permissions or run as its owner." }),
  });
}
