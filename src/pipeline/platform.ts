import type { Folder } from "../../weights/folder.ts";
import { FastVLMError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Pixels } from "../image/pixels.ts";

/** What differs between Node and browsers. `src/node.ts` and `src/web.ts` each install theirs. */
export interface Platform {
  openGpu(options: { profile: boolean }): Promise<Gpu>;
  /** A checkpoint folder by path or address. */
  openFolder(source: string): Promise<Folder>;
  /** Decodes an image file; EXIF orientation is applied unless `orientation` is false. */
  decodeImage(bytes: Uint8Array<ArrayBuffer>, options: { orientation: boolean }): Promise<Pixels>;
  /** The bytes of a file by path or address. */
  readFile(source: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

let current: Platform | undefined;

export function installPlatform(platform: Platform): void {
  current = platform;
}

export function platform(): Platform {
  if (!current) throw new FastVLMError("no platform: import fastvlm through its entry point for Node or for browsers");
  return current;
}
