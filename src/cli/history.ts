import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheFolder } from "../node/cache_folder.ts";

const MAX_LINES = 1000;

/** Where questions of earlier conversations are kept: in the user's cache folder. */
export function historyFile(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
  return join(cacheFolder(env, platform), "chat_history");
}

/** Lines typed in earlier conversations, newest first. None where there is no such file. */
export function readHistory(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean).reverse();
  } catch {
    return [];
  }
}

/** Keeps the newest lines, given newest first. A conversation does not fail for want of a place for them. */
export function writeHistory(file: string, lines: readonly string[]): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    const kept = lines.slice(0, MAX_LINES).toReversed();
    writeFileSync(file, kept.map((line) => `${line}\n`).join(""), { mode: 0o600 });
  } catch {
    // A read-only home: the lines are forgotten.
  }
}
