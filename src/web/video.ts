import { VideoError } from "../errors.ts";
import { addressSource } from "../video/address.ts";
import { type ClipRequest, decodeVideo } from "../video/decode.ts";
import type { Clip } from "../video/types.ts";
import { resolveAddress } from "./address.ts";

/** Decodes a video with the page's WebCodecs. */
export async function decodeWebVideo(
  source: string | Uint8Array<ArrayBuffer>,
  request: ClipRequest,
  signal?: AbortSignal,
): Promise<Clip> {
  if (typeof VideoDecoder === "undefined") {
    throw new VideoError("video: this page has no WebCodecs", {
      hint: "Browsers offer it to pages on HTTPS or localhost. A clip's frames may also be passed as a list of images.",
    });
  }
  return decodeVideo(
    (bunny) => {
      if (typeof source !== "string") return new bunny.BufferSource(source);
      return addressSource(bunny, resolveAddress(source));
    },
    request,
    signal,
  );
}
