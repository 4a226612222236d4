import { InputError } from "../errors.ts";
import type { VideoInput } from "../video/types.ts";
import { shown } from "./shown.ts";
import type { ImageInput } from "./types.ts";

/**
 * Whether a value is of a kind that can be an image; what pixels hold is not looked at.
 *
 * @param name what errors call it
 * @throws InputError when it is of another kind
 */
export function checkImage(image: unknown, name: string): asserts image is ImageInput {
  if (typeof image === "string" || image instanceof Uint8Array) return;
  if (typeof image === "object" && image && "width" in image && "height" in image && "data" in image) return;
  throw refused(image, name, "pixels");
}

/**
 * Whether a value is of a kind that can be a video; the frames of a list are not looked at.
 *
 * @param name what errors call it
 * @throws InputError when it is of another kind
 */
export function checkVideo(video: unknown, name: string): asserts video is VideoInput {
  if (typeof video === "string" || video instanceof Uint8Array || Array.isArray(video)) return;
  throw refused(video, name, "a list of frames");
}

function refused(value: unknown, name: string, last: string): InputError {
  const hint = wayOut(value);
  const message = `${name}: expected a path, an address, bytes or ${last}, got ${shown(value)}`;
  return new InputError(message, hint === undefined ? {} : { hint });
}

/** How to make what is expected of what pages have at hand. */
function wayOut(value: unknown): string | undefined {
  if (typeof Blob !== "undefined" && value instanceof Blob) {
    return "Pass its bytes: new Uint8Array(await file.arrayBuffer()).";
  }
  if (value instanceof ArrayBuffer) return "Pass its bytes: new Uint8Array(buffer).";
  if (value instanceof URL) return "Pass the href of a web address, or the path of a file: URL.";
  return undefined;
}
