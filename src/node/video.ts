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
  await installWebCodecs();
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
 * @param load  imports the optional package
 * @param scope where mediabunny looks for WebCodecs, as in browsers
 * @throws VideoError when the package is not installed, or not for this platform
 */
export async function installWebCodecs(
  load = (): Promise<object> => import(PACKAGE),
  scope: object = globalThis,
): Promise<void> {
  const missing = CLASSES.filter((name) => !(name in scope));
  if (missing.length === 0) return;
  try {
    const classes = (await load()) as Record<string, unknown>;
    for (const name of missing) Object.assign(scope, { [name]: classes[name] });
  } catch (cause) {
    throw new VideoError(`video: decoding in Node needs the package ${PACKAGE}, which is not installed`, {
      hint: `npm install ${PACKAGE}; or pass a folder of frames, such as ffmpeg -i clip.mp4 frames/%04d.png makes`,
      cause,
    });
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
