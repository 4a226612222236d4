import { mkdir, open, readdir, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { CodeStore, Put } from "../../weights/code_cache.ts";
import { checkFileName, type Folder } from "../../weights/folder.ts";
import { cacheFolder } from "./cache_folder.ts";
import { nodeFolder } from "./folder.ts";
import { replaceFile, UNFINISHED } from "./replace_file.ts";
import { writeAll } from "./write_all.ts";

/** Bytes of all files together; the least recently used go first. */
const MAX_BYTES = 32e9;
/** Left on the disk for others. */
const FREE_BYTES = 2e9;
/** A file that nobody has written to for so long belongs to a process that ended. */
const ABANDONED_MS = 3600e3;

/** A file of the store. */
export interface StoredFile {
  readonly name: string;
  readonly bytes: number;
  /** When it was last opened, in ms since 1970. */
  readonly used: number;
}

/** Codes of checkpoints in the user's cache folder. */
export class NodeCodeStore implements CodeStore {
  readonly #path: string | undefined;
  readonly #maxBytes: number;

  /** @param path default: `codes` in the cache folder @param maxBytes default: 32 GB */
  constructor(path?: string, maxBytes: number = MAX_BYTES) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** Looked up late: a user without a home folder has no cache, and everything else. */
  get path(): string {
    return this.#path ?? join(cacheFolder(), "codes");
  }

  async open(file: string): Promise<Folder | undefined> {
    const path = this.#place(file);
    if (!(await stat(path).catch(() => undefined))) return undefined;
    const now = new Date();
    await utimes(path, now, now).catch(() => undefined); // a cache that is only read has no order
    return nodeFolder(this.path);
  }

  async write(file: string, bytes: number, fill: (put: Put) => Promise<void>): Promise<boolean> {
    const path = this.#place(file);
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    await this.#sweep();
    const { bavail, bsize } = await statfs(this.path);
    if (bytes > this.#maxBytes || bytes + FREE_BYTES > bavail * bsize) return false;
    await replaceFile(path, async (unfinished) => {
      const handle = await open(unfinished, "wx", 0o600);
      try {
        await fill((at, part) => writeAll(handle, at, part));
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
    await this.#evict(file);
    return true;
  }

  async remove(file: string): Promise<void> {
    await rm(this.#place(file), { force: true });
  }

  /** What is kept, the least recently used first. */
  async list(): Promise<StoredFile[]> {
    const files = (await this.#names()).filter((name) => !name.endsWith(UNFINISHED));
    const found = await Promise.all(
      files.map(async (name) => {
        const info = await stat(join(this.path, name)).catch(() => undefined);
        return info?.isFile() ? [{ name, bytes: info.size, used: info.mtimeMs }] : [];
      }),
    );
    return found.flat().sort((a, b) => a.used - b.used);
  }

  #place(file: string): string {
    checkFileName(this.path, file);
    return join(this.path, file);
  }

  #names(): Promise<string[]> {
    return readdir(this.path).catch(() => []);
  }

  async #sweep(): Promise<void> {
    for (const name of await this.#names()) {
      if (!name.endsWith(UNFINISHED)) continue;
      const info = await stat(join(this.path, name)).catch(() => undefined);
      if (info && Date.now() - info.mtimeMs > ABANDONED_MS) await this.remove(name);
    }
  }

  async #evict(newest: string): Promise<void> {
    const files = await this.list();
    let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { name, bytes } of files) {
      if (total <= this.#maxBytes || name === newest) continue;
      await this.remove(name).catch(() => undefined); // in use, on Windows
      total -= bytes;
    }
  }
}
