import { rename, rm } from "node:fs/promises";

/** Ends the names of files that are not whole yet. */
export const UNFINISHED = ".tmp";

/**
 * Makes or replaces a file, whole or not at all: it is written under a name of its own, so that neither an interruption nor a
 * second process leaves half a file.
 *
 * @param write  makes the file under the name it is given, which does not exist
 */
export async function replaceFile(path: string, write: (unfinished: string) => Promise<void>): Promise<void> {
  const unfinished = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}${UNFINISHED}`;
  try {
    await write(unfinished);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
