import { sha256 } from "../../weights/sha256.ts";
import { checkPixels } from "../image/check_pixels.ts";
import type { Pixels } from "../image/pixels.ts";
import { checkImageSize, planResize } from "../image/preprocess.ts";
import { gridFor, readVideo } from "../video/read.ts";
import type { VideoInput, VideoOptions } from "../video/types.ts";
import { dataUrlBytes, isDataUrl } from "./data_url.ts";
import { decodeFile, readSource } from "./image_file.ts";
import type { Loaded } from "./load.ts";
import { Picture, type Square } from "./picture.ts";
import { resizePicture, resizeToBytes } from "./resize.ts";
import type { ImageInput } from "./types.ts";

/**
 * The picture that an image becomes; nothing is read yet.
 *
 * @throws ImageError when it came as pixels that make no sense
 */
export function pictureOf(loaded: Loaded, image: ImageInput): Picture {
  if (typeof image !== "string" && !(image instanceof Uint8Array)) checkPixels(image, "image");
  const { gpu, model, imageSize: side, resize: mode, orientation } = loaded;
  // The bytes of a file stay, so that the picture remains what it was when the conversation saw it.
  let file: Uint8Array<ArrayBuffer> | undefined;
  const given = async (signal: AbortSignal | undefined): Promise<Exclude<ImageInput, string>> => {
    if (typeof image !== "string") return image;
    file ??= await readSource(image, signal);
    signal?.throwIfAborted();
    return file;
  };
  const source = {
    async content(signal: AbortSignal | undefined): Promise<string> {
      const input = await given(signal);
      if (input instanceof Uint8Array) return sha256(input);
      return `${await sha256(input.data)} ${input.width} × ${input.height}`;
    },
    async load(signal: AbortSignal | undefined): Promise<Square> {
      const input = await given(signal);
      const pixels = input instanceof Uint8Array ? await decodeFile(input, image, { orientation }) : input;
      signal?.throwIfAborted();
      return resizePicture(gpu, pixels, planResize(pixels.width, pixels.height, { mode, size: side }));
    },
  };
  return new Picture(source, { side }, model.imageTokens(side, side));
}

/** The frames of a video as pictures, and when each is shown, in seconds. The video is read at once. */
export async function framesOf(
  { gpu, model, imageSize, resize: mode, orientation }: Loaded,
  video: VideoInput,
  options: VideoOptions,
  signal: AbortSignal | undefined,
): Promise<{ pictures: Picture[]; seconds: readonly number[] }> {
  const side = options.imageSize === undefined ? imageSize : checkImageSize(options.imageSize);
  const pool = gridFor(options.tokensPerFrame);
  const tokens = model.imageTokens(side, side, pool);
  const input = typeof video === "string" && isDataUrl(video) ? dataUrlBytes(video) : video;
  // Frames are made small as they come: a clip's frames at full size may not fit the memory.
  const finish = async (frame: Pixels): Promise<Pixels> => {
    const data = await resizeToBytes(gpu, frame, planResize(frame.width, frame.height, { mode, size: side }));
    return { width: side, height: side, data };
  };
  const pictures: Picture[] = [];
  const contents: Promise<string>[] = [];
  const read = async (abort: AbortSignal | undefined): Promise<readonly number[]> => {
    const { frames, seconds } = await readVideo(input, options, abort, finish, orientation);
    for (const [i, { data }] of frames.entries()) {
      const load = async (again: AbortSignal | undefined): Promise<Square> => {
        await read(again);
        return pictures[i]!.pixels(again);
      };
      contents[i] ??= sha256(data);
      pictures[i] ??= new Picture({ load, content: () => contents[i]! }, { side, pool }, tokens);
      pictures[i].hold(data);
    }
    return seconds;
  };
  const seconds = await read(signal);
  return { pictures, seconds };
}
