import { homedir } from "node:os";
import { join } from "node:path";

/** Where this program keeps what it can make again: `fastvlm` in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env, platform: string = process.platform): string {
  const caches = {
    darwin: () => join(homedir(), "Library", "Caches"),
    win32: () => env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"),
  };
  const usual = caches[platform as keyof typeof caches]?.() ?? join(homedir(), ".cache");
  return join(env.XDG_CACHE_HOME || usual, "fastvlm");
}
