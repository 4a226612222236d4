import type { FileHandle } from "node:fs/promises";

/** Writes all of `bytes` at a place in a file: one call may write fewer, for example on a disk that is nearly full. */
export async function writeAll(file: Pick<FileHandle, "write">, at: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}
