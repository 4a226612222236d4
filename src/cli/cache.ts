import { NodeCodeStore, type StoredFile } from "../node/code_store.ts";
import { noArguments, parseFlags } from "./args.ts";

export const CACHE_USAGE = `fastvlm cache [--clear]

  What --quantize keeps for the next start: one file per checkpoint and format, in the user's cache folder. Of more than 32 GB
  the least recently used are removed, and nothing is kept that would leave less than 2 GB free on the disk.

  --clear           remove them all`;

const FLAGS = { clear: { type: "boolean" } } as const;

/** `fastvlm cache`: what is kept between starts. */
export async function cache(args: readonly string[], store = new NodeCodeStore()): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, CACHE_USAGE);
  noArguments("cache", positionals, CACHE_USAGE);
  const files = await store.list();
  if (values.clear) for (const { name } of files) await store.remove(name);
  process.stdout.write(`${describe(store.path, files)}${values.clear && files.length > 0 ? ", removed" : ""}\n`);
}

function describe(path: string, files: readonly StoredFile[]): string {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const lines = files.map(({ name, bytes, used }) => {
    const when = new Date(used).toISOString().slice(0, 10);
    return `  ${gigabytes(bytes).padStart(9)}  last used ${when}  ${name}\n`;
  });
  return `${lines.join("")}${path}: ${files.length} ${files.length === 1 ? "file" : "files"}, ${gigabytes(total)}`;
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
