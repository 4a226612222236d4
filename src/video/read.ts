import { InputError } from "../errors.ts";
import { checkPixels } from "../image/check_pixels.ts";
import type { Pixels } from "../image/pixels.ts";
import { checkImage, checkVideo } from "../pipeline/given.ts";
import { decodeFile, readSource } from "../pipeline/image_file.ts";
import { platform } from "../pipeline/platform.ts";
import type { ImageInput } from "../pipeline/types.ts";
import type { ClipRequest } from "./decode.ts";
import { checkChoice, chooseFrames } from "./sampling.ts";
import type { Clip, VideoInput, VideoOptions } from "./types.ts";

/**
 * Decodes the frames of a clip that `options` choose.
 *
 * @param finish applied to each frame as it comes, such as making it smaller. Default: nothing
 * @param orientation whether photos in an image sequence are turned upright by their EXIF tag. Default true
 * @throws VideoError when the bytes are not a video this runtime can decode, or no frame is in the part asked for
 * @throws ImageError when a frame of an image sequence is no image, or pixels that make no sense
 * @throws InputError when there is no such file, or an option makes no sense
 */
export async function readVideo(
  input: VideoInput,
  options: VideoOptions = {},
  signal?: AbortSignal,
  finish: (frame: Pixels) => Pixels | Promise<Pixels> = (frame) => frame,
  orientation = true,
): Promise<Clip> {
  const request = { ...checkChoice(options), finish, onProgress: options.onProgress };
  const fps = options.fps ?? 1;
  if (!(fps > 0)) throw new InputError(`video: fps: expected frames per second, more than 0, got ${fps}`);
  signal?.throwIfAborted();
  checkVideo(input, "video");
  if (typeof input !== "string" && !(input instanceof Uint8Array)) {
    return readImages(input, fps, request, signal, orientation);
  }
  const folder = typeof input === "string" ? await platform().listImages(input) : undefined;
  if (folder) return readImages(folder, fps, request, signal, orientation);
  return platform().decodeVideo(input, request, signal);
}

async function readImages(
  images: readonly ImageInput[],
  fps: number,
  { finish, onProgress, ...choice }: ClipRequest,
  signal: AbortSignal | undefined,
  orientation: boolean,
): Promise<Clip> {
  const times = images.map((_, i) => i / fps);
  const chosen = chooseFrames(times, choice);
  for (const index of chosen) checkFrame(images[index], `video: frame ${index}`);
  const frames: Pixels[] = [];
  for (const index of chosen) {
    signal?.throwIfAborted();
    const image = images[index]!;
    const bytes = typeof image === "string" ? await readSource(image, signal) : image;
    const frame = bytes instanceof Uint8Array ? await decodeFile(bytes, image, { orientation }) : bytes;
    frames.push(await finish(frame));
    onProgress?.(frames.length, chosen.length);
  }
  return { frames, seconds: chosen.map((index) => times[index]!) };
}

/** Before any of them is read. */
function checkFrame(image: unknown, name: string): void {
  checkImage(image, name);
  if (typeof image !== "string" && !(image instanceof Uint8Array)) checkPixels(image, name);
}

/** Side of the grid that gives a frame so many tokens; undefined: all features. */
export function gridFor(tokensPerFrame: number | undefined): number | undefined {
  if (tokensPerFrame === undefined) return undefined;
  const side = Math.sqrt(tokensPerFrame);
  if (Number.isSafeInteger(side) && side >= 1) return side;
  const near = Math.max(1, Math.round(side) || 1) ** 2;
  throw new InputError(`video: tokensPerFrame: expected a square number such as ${near}, got ${tokensPerFrame}`);
}
