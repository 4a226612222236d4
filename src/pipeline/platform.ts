import type { CodeStore } from "../../weights/code_cache.ts";
import type { Folder } from "../../weights/folder.ts";
import { FastVLMError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Pixels } from "../image/pixels.ts";
import type { ClipRequest } from "../video/decode.ts";
import type { Clip } from "../video/types.ts";
import type { TuningStore } from "./tuning.ts";

/** What differs between Node and browsers. `src/node.ts` and `src/web.ts` each install theirs. */
export interface Platform {
  openGpu(options: { profile: boolean }): Promise<Gpu>;
  /** A checkpoint folder by path or address. */
  openFolder(source: string): Promise<Folder>;
  /** Decodes an image file; EXIF orientation is applied unless `orientation` is false. */
  decodeImage(bytes: Uint8Array<ArrayBuffer>, options: { orientation: boolean }): Promise<Pixels>;
  /** The chosen frames of a video file: its path or address, or its bytes. */
  decodeVideo(source: string | Uint8Array<ArrayBuffer>, request: ClipRequest, signal?: AbortSignal): Promise<Clip>;
  /** The pictures of a folder in the order of their names; undefined when there is no such folder. */
  listImages(path: string): Promise<readonly string[] | undefined>;
  /** The bytes of a file by path or address. */
  readFile(source: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** Where codes are kept between starts, if anywhere. */
  readonly codeStore?: CodeStore;
  /** Where choices between shaders are kept that were measured on this machine. */
  readonly tuningStore?: TuningStore;
}

let current: Platform | undefined;

export function installPlatform(platform: Platform): void {
  current = platform;
}

export function platform(): Platform {
  if (!current) throw new FastVLMError("no platform: import fastvlm through its entry point for Node or for browsers");
  return current;
}
