import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { TuningStore } from "../pipeline/tuning.ts";
import { cacheFolder } from "./cache_folder.ts";
import { replaceFile } from "./replace_file.ts";

/** Measured choices in the user's cache folder, a small JSON file per adapter. */
export class NodeTuningStore implements TuningStore {
  readonly #folder: string | undefined;

  /** @param folder default: `tuning` in the cache folder */
  constructor(folder?: string) {
    this.#folder = folder;
  }

  get runtime(): string {
    return `${process.platform} Dawn of webgpu ${webgpuVersion() ?? "?"}`;
  }

  async read(key: string): Promise<string | undefined> {
    return readFile(this.path(key), "utf8").catch(() => undefined);
  }

  async write(key: string, text: string): Promise<void> {
    const path = this.path(key);
    await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
    await replaceFile(path, (unfinished) => writeFile(unfinished, text, { flag: "wx", mode: 0o600 }));
  }

  /** The file of a key. Looked up late: a user without a home folder has no cache, and everything else. */
  path(key: string): string {
    const folder = this.#folder ?? join(cacheFolder(), "tuning");
    return join(folder, `${createHash("sha256").update(key).digest("hex").slice(0, 16)}.json`);
  }
}

/** Version of the `webgpu` package, when it is installed. */
export function webgpuVersion(): string | undefined {
  const require = createRequire(import.meta.url);
  try {
    // The package exports no package.json; it lies beside its entry point.
    const { version } = require(join(require.resolve("webgpu"), "..", "package.json")) as { version: string };
    return version;
  } catch {
    return undefined;
  }
}
