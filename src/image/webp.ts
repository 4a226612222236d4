import { ImageError } from "../errors.ts";
import { type Orientation, readExifOrientation, UPRIGHT } from "./orientation.ts";

/** What the chunks of a WebP file say, read without decoding. */
export interface WebpInfo {
  readonly width: number;
  readonly height: number;
  readonly alpha: boolean;
  readonly orientation: Orientation;
  /** First frame of an animation. */
  readonly frame: WebpFrame | undefined;
}

/** One frame of an animation: where it lies on the canvas, and its chunks. */
export interface WebpFrame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly chunks: Uint8Array;
}

interface Chunk {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

const ANIMATED = 0x02;
const ALPHA = 0x10;

/**
 * Reads the chunks of a WebP file (RFC 9649).
 *
 * @throws ImageError when the file is cut off or holds no picture
 */
export function readWebp(file: Uint8Array): WebpInfo {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = 8 + view.getUint32(4, true);
  if (end > file.length) {
    throw new ImageError(`image: truncated WebP: expected ${end} bytes, got ${file.length}`, {
      hint: "download or copy the file again",
    });
  }

  let canvas: { width: number; height: number; alpha: boolean } | undefined;
  let still: { width: number; height: number; alpha: boolean } | undefined;
  let animated = false;
  let frame: WebpFrame | undefined;
  let orientation = UPRIGHT;
  for (const chunk of chunksOf(file, view, 12, end)) {
    const { name, start } = chunk;
    const length = chunk.end - start;
    if (name === "VP8X" && length >= 10) {
      const flags = view.getUint8(start);
      animated = (flags & ANIMATED) !== 0;
      canvas = {
        width: uint24(view, start + 4) + 1,
        height: uint24(view, start + 7) + 1,
        alpha: (flags & ALPHA) !== 0,
      };
    } else if (name === "ANMF" && length >= 16) {
      frame ??= {
        left: 2 * uint24(view, start),
        top: 2 * uint24(view, start + 3),
        width: uint24(view, start + 6) + 1,
        height: uint24(view, start + 9) + 1,
        chunks: file.subarray(start + 16, chunk.end),
      };
    } else if (name === "EXIF") {
      orientation = readExifOrientation(file, start, chunk.end);
    } else {
      still ??= readBitstreamHeader(view, chunk);
    }
  }

  if (animated && canvas && frame) return { ...canvas, orientation, frame };
  if (!still) throw new ImageError("image: damaged WebP: it holds no picture");
  return { ...still, alpha: still.alpha || (canvas?.alpha ?? false), orientation, frame: undefined };
}

/**
 * A still WebP file made of one frame's chunks, because the decoder reads only still files.
 *
 * The extended header that it is given always announces alpha: true whenever it matters, ignored otherwise.
 */
export function stillOfFrame({ width, height, chunks }: WebpFrame): Uint8Array {
  const file = new Uint8Array(30 + chunks.length);
  const view = new DataView(file.buffer);
  const text = (at: number, value: string) =>
    file.set(
      [...value].map((c) => c.charCodeAt(0)),
      at,
    );
  text(0, "RIFF");
  view.setUint32(4, file.length - 8, true);
  text(8, "WEBPVP8X");
  view.setUint32(16, 10, true);
  view.setUint8(20, ALPHA);
  // Two 24-bit sizes; the upper byte that each 32-bit write spills is overwritten by what follows.
  view.setUint32(24, width - 1, true);
  view.setUint32(27, height - 1, true);
  file.set(chunks, 30);
  return file;
}

/** Size and alpha from the header of a lossy ("VP8 ", RFC 6386 §9.1) or lossless ("VP8L") bitstream. */
function readBitstreamHeader(view: DataView, { name, start, end }: Chunk) {
  if (name === "VP8 " && end - start >= 10) {
    const size = view.getUint32(start + 6, true);
    return { width: size & 0x3fff, height: (size >>> 16) & 0x3fff, alpha: false };
  }
  if (name === "VP8L" && end - start >= 5) {
    const bits = view.getUint32(start + 1, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, alpha: ((bits >>> 28) & 1) === 1 };
  }
  return undefined;
}

function* chunksOf(file: Uint8Array, view: DataView, from: number, to: number): Generator<Chunk> {
  for (let at = from; at + 8 <= to; ) {
    const name = String.fromCharCode(...file.subarray(at, at + 4));
    const start = at + 8;
    const end = start + view.getUint32(at + 4, true);
    if (end > to)
      throw new ImageError(`image: damaged WebP: chunk ${JSON.stringify(name)} runs past the end of the file`);
    yield { name, start, end };
    at = end + (end & 1); // chunks are padded to an even length
  }
}

const uint24 = (view: DataView, at: number): number => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
