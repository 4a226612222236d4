import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const MAX_LINES = 1000;

/** Where questions of earlier conversations are kept: in the user's cache folder. */
export function historyFile(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
  const caches = {
    darwin: () => join(homedir(), "Library", "Caches"),
    win32: () => env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"),
  };
  const usual = caches[platform as keyof typeof caches]?.() ?? join(homedir(), ".cache");
  return join(env.XDG_CACHE_HOME || usual, "fastvlm", "chat_history");
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
