import { unlessAborted } from "../src/abort.ts";
import { CheckpointError } from "../src/errors.ts";

export interface ReadOptions {
  /** Filled instead of allocating; must hold the range. The result is a view of it. */
  readonly into?: Uint8Array<ArrayBuffer> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where the files of a checkpoint come from: a directory, a web server, memory. */
export interface Folder {
  /** How errors refer to the folder, such as its path or address. */
  readonly name: string;
  /**
   * Bytes in `file`, or undefined when there is no such file.
   *
   * @throws the signal's reason when aborted
   */
  size(file: string, options?: Pick<ReadOptions, "signal">): Promise<number | undefined>;
  /**
   * Bytes `start` (0 unless given) to `end` (exclusive; the end of the file unless given).
   *
   * @throws CheckpointError when the file is missing or ends early; the signal's reason when aborted
   */
  read(file: string, start?: number, end?: number, options?: ReadOptions): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * A text that changes whenever `file` does, such as its time of modification. Absent, or undefined, where nobody can tell;
   * then nothing made from the file is kept for the next start.
   */
  version?(file: string): Promise<string | undefined>;
  /** Lets go of open files and cached bytes. The folder can still be read afterwards. */
  close(): Promise<void>;
}

/** A checkpoint that is already in memory: file names and their bytes. */
export function memoryFolder(files: Readonly<Record<string, Uint8Array>>, name = "memory"): Folder {
  const get = (file: string) => (Object.hasOwn(files, file) ? files[file] : undefined);
  return {
    name,
    size: async (file) => get(file)?.length,
    async read(file, start = 0, end, { into, signal } = {}) {
      signal?.throwIfAborted();
      const bytes = get(file);
      if (!bytes) throw missingFile(name, file);
      const stop = end ?? bytes.length;
      if (stop > bytes.length) throw endsEarly(name, file, stop, bytes.length);
      const target = into?.subarray(0, stop - start) ?? new Uint8Array(stop - start);
      target.set(bytes.subarray(start, stop));
      return target;
    },
    close: async () => {},
  };
}

/**
 * The same folder, whose reads end when `signal` aborts, unless they bring a signal of their own. That also holds for folders
 * that look at no signal: what they still deliver then is dropped.
 */
export function abortableFolder(folder: Folder, signal: AbortSignal): Folder {
  const until = <Result>(own: AbortSignal, work: () => Promise<Result>): Promise<Result> => {
    own.throwIfAborted();
    return unlessAborted(own, work());
  };
  return {
    name: folder.name,
    size: async (file, { signal: own = signal } = {}) => until(own, () => folder.size(file, { signal: own })),
    read: async (file, start, end, { signal: own = signal, ...options } = {}) =>
      until(own, () => folder.read(file, start, end, { ...options, signal: own })),
    ...(folder.version && { version: async (file) => until(signal, async () => folder.version?.(file)) }),
    close: () => folder.close(),
  };
}

/** File names come from index files and callers; one that leaves the folder is refused. */
export function checkFileName(folder: string, file: string): void {
  const parts = file.split("/");
  if (/[\\\0:?#]/.test(file) || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new CheckpointError(`${folder}: expected the name of a file in the folder, got ${JSON.stringify(file)}`);
  }
}

export const missingFile = (folder: string, file: string, cause?: unknown) =>
  new CheckpointError(`${folder}: ${file} is missing`, {
    cause,
    hint: "Check the path; a complete checkpoint folder has config.json and model.safetensors (or its shards).",
  });

export const endsEarly = (folder: string, file: string, expected: number, got: number) =>
  new CheckpointError(`${folder}: ${file}: truncated: expected at least ${expected} bytes, got ${got}`, {
    hint: "The download is incomplete; fetch the file again.",
  });
