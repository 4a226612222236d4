import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { InputError, VideoError } from "../errors.ts";
import { addressSource } from "../video/address.ts";
import { type ClipRequest, decodeVideo } from "../video/decode.ts";
import type { Clip } from "../video/types.ts";

const PACKAGE = "@napi-rs/webcodecs";
/** What mediabunny uses of WebCodecs to decode pictures. */
const CLASSES = ["VideoDecoder", "VideoFrame", "EncodedVideoChunk", "VideoColorSpace"] as const;

const isAddress = (source: string): boolean => /^(https?|data):/i.test(source);

/** Decodes a video with the WebCodecs of `@napi-rs/webcodecs` (FFmpeg's decoders), or of the runtime where it has them. */
export async function decodeNodeVideo(
  source: string | Uint8Array<ArrayBuffer>,
  request: ClipRequest,
  signal?: AbortSignal,
): Promise<Clip> {
  if (typeof source === "string" && !isAddress(source)) await checkFile(source);
  installWebCodecs(await loadWebCodecs());
  // Node ends when nothing but the decoder is at work; this keeps it.
  const alive = setInterval(() => {}, 2 ** 30);
  try {
    return await decodeVideo(
      (bunny) => {
        if (typeof source !== "string") return new bunny.BufferSource(source);
        return isAddress(source) ? addressSource(bunny, source) : new bunny.FilePathSource(source);
      },
      request,
      signal,
    );
  } finally {
    clearInterval(alive);
  }
}

/**
 * @param load imports the optional package
 * @throws VideoError when it is not installed, or not for this platform
 */
export async function loadWebCodecs(load = (): Promise<unknown> => import(PACKAGE)): Promise<object | undefined> {
  if (CLASSES.every((name) => name in globalThis)) return undefined;
  try {
    return (await load()) as object;
  } catch (cause) {
    throw new VideoError(`video: decoding in Node needs the package ${PACKAGE}, which is not installed`, {
      hint: `npm install ${PACKAGE}; or pass a folder or list of frames, such as ffmpeg -i clip.mp4 frames/%04d.png makes`,
      cause,
    });
  }
}

/** mediabunny looks for WebCodecs where browsers have it. */
function installWebCodecs(classes: object | undefined): void {
  for (const name of CLASSES) {
    if (classes && !(name in globalThis))
      Object.assign(globalThis, { [name]: (classes as Record<string, unknown>)[name] });
  }
}

async function checkFile(path: string): Promise<void> {
  const code = await stat(path).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
  if (code === undefined) return;
  throw new InputError(`${path}: ${code === "ENOENT" ? "no such file" : `cannot be read (${code})`}`);
}

/** JPEG, PNG and WebP files of a folder, numbers in their names in order of size: frame_9 before frame_10. */
export async function listImages(path: string): Promise<readonly string[] | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return undefined;
  const names = (await readdir(path)).filter((name) => /\.(jpe?g|png|webp)$/i.test(name) && !name.startsWith("."));
  if (names.length === 0) throw new InputError(`${path}: expected JPEG, PNG or WebP files in the folder, got none`);
  const byName = new Intl.Collator("en", { numeric: true });
  return names.sort(byName.compare).map((name) => join(path, name));
}
