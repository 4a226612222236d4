import { access, constants, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { InputError } from "../errors.ts";

/** The error of a file that could not be written, for the one who named it. */
export function unwritable(path: string, cause: unknown): InputError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new InputError(`${path}: cannot be written (${code ?? message})`, {
    cause,
    hint: "Check that the folder exists, may be written to and has room.",
  });
}

/** What `write` returns. @throws InputError that names `path` when the file system refuses */
export async function writing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** @throws InputError when no file can be made at `path`, while there is nothing to lose yet */
export async function checkPlace(path: string): Promise<void> {
  // The dot tells a folder from a file.
  await writing(path, () => access(`${dirname(path)}/.`, constants.W_OK));
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new InputError(`${path}: expected a file, got a folder`);
}

/** Writes under a temporary name first, so that an interrupted write leaves no half file. */
export async function writeWhole(
  path: string,
  data: Uint8Array | string,
  temporary = `${path}.${process.pid}.tmp`,
): Promise<void> {
  try {
    await writeFile(temporary, data, { flush: true });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw unwritable(path, cause);
  }
}
