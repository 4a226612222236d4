import { rename, rm, writeFile } from "node:fs/promises";
import { InputError } from "../errors.ts";

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
    throw new InputError(`${path}: cannot be written`, {
      cause,
      hint: "Check that the folder exists and may be written to.",
    });
  }
}
