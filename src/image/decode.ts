import { FastVLMError, ImageError } from "../errors.ts";
import { FORMAT_NAMES, type ImageFormat, readableFormat } from "./format.ts";
import { readJpeg, withAdobeSegment, withoutMetadata } from "./jpeg.ts";
import { applyOrientation, type Orientation, withoutOrientation } from "./orientation.ts";
import type { Pixels } from "./pixels.ts";
import { decodePng, readPng } from "./png.ts";
import { readWebp, stillOfFrame, type WebpFrame } from "./webp.ts";

/** Pixels as a codec delivers them: 8 bits per sample, alpha not multiplied in. Their memory passes to the caller. */
export interface CodecPixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** What `decodeImage` asks of a codec. */
export interface CodecRequest {
  readonly format: "jpeg" | "webp";
  readonly alpha: boolean;
  /** A JPEG of four components; it carries an Adobe segment. */
  readonly cmyk: boolean;
  /** A JPEG of a kind that every libjpeg decodes to the same bytes. */
  readonly plain: boolean;
}

/** The decoders that differ between runtimes. PNG is decoded here, the same way everywhere. */
export interface Codecs {
  /** Decodes to sRGB as stored: no colour management, no turning. Rejects with anything when it cannot. */
  decode(request: CodecRequest, bytes: Uint8Array): Promise<CodecPixels>;
}

/** Pillow refuses pictures above this many pixels as decompression bombs (twice its `MAX_IMAGE_PIXELS`). */
export const MAX_PIXELS = 178_956_970;
/**
 * Pixels times scans of a progressive JPEG. A scan can be a few bytes long, so without a bound a small file keeps a decoder
 * busy for hours; ordinary files have up to about 20 scans.
 */
const MAX_SCANNED_PIXELS = 4e9;
/** Longest side, the most a JPEG can have; keeps the tables of a resize small. */
export const MAX_SIDE = 65_535;

/**
 * Decodes a JPEG, PNG or WebP file to the RGB pixels that Pillow's `convert("RGB")` gives.
 *
 * Alpha is dropped without compositing, grey is repeated, colour profiles are ignored; of an animation the first frame
 * is taken. Size is checked before anything is decoded.
 *
 * @param bytes               the whole file
 * @param codecs              the runtime's decoders
 * @param options.orientation turn the picture upright by its Exif tag. Default true
 * @throws ImageError when the bytes are not such a file, are cut off or damaged, or hold too many pixels
 */
export async function decodeImage(
  bytes: Uint8Array,
  codecs: Codecs,
  options: { orientation?: boolean } = {},
): Promise<Pixels> {
  const format = readableFormat(bytes);
  try {
    const { pixels, orientation } = await decoders[format](bytes, codecs);
    return options.orientation === false ? pixels : applyOrientation(pixels, orientation.value);
  } catch (cause) {
    if (cause instanceof FastVLMError) throw cause;
    throw new ImageError(`image: damaged ${FORMAT_NAMES[format]}, or of a rare kind: the decoder gave up`, {
      hint: "open the picture in an image editor and save it again",
      cause,
    });
  }
}

interface Decoded {
  readonly pixels: Pixels;
  readonly orientation: Orientation;
}

const decoders: Record<ImageFormat, (bytes: Uint8Array, codecs: Codecs) => Promise<Decoded>> = {
  async png(bytes) {
    const png = readPng(bytes);
    checkSize(png);
    return { pixels: await decodePng(png), orientation: png.orientation };
  },

  async jpeg(bytes, codecs) {
    const info = readJpeg(bytes);
    checkSize(info);
    if (info.scans * info.width * info.height > MAX_SCANNED_PIXELS) {
      throw new ImageError(
        `image: JPEG of ${info.width} × ${info.height} pixels in ${info.scans} scans: too much work`,
      );
    }
    const cmyk = info.components === 4;
    const bare = withoutMetadata(bytes, info);
    const file = cmyk && !info.adobe ? withAdobeSegment(bare) : bare;
    const raw = await codecs.decode({ format: "jpeg", alpha: false, cmyk, plain: info.plain }, file);
    return { pixels: toRgb(raw, info), orientation: info.orientation };
  },

  async webp(bytes, codecs) {
    const info = readWebp(bytes);
    checkSize(info);
    const upright = withoutOrientation(bytes, info.orientation);
    const pixels = info.frame
      ? await decodeFrame(info.frame, info, codecs)
      : toRgb(await codecs.decode({ format: "webp", alpha: info.alpha, cmyk: false, plain: false }, upright), info);
    return { pixels, orientation: info.orientation };
  },
};

/** The first frame of an animation, on its canvas; what it leaves uncovered is black. */
async function decodeFrame(frame: WebpFrame, canvas: Size, codecs: Codecs): Promise<Pixels> {
  if (frame.left + frame.width > canvas.width || frame.top + frame.height > canvas.height) {
    throw new ImageError("image: damaged WebP: the first frame does not fit on the canvas");
  }
  const raw = await codecs.decode({ format: "webp", alpha: true, cmyk: false, plain: false }, stillOfFrame(frame));
  const { data } = toRgb(raw, frame);
  if (frame.width === canvas.width && frame.height === canvas.height) return { ...size(canvas), data };
  const pixels = { ...size(canvas), data: new Uint8Array(canvas.width * canvas.height * 3) };
  for (let y = 0; y < frame.height; y++) {
    const row = data.subarray(y * frame.width * 3, (y + 1) * frame.width * 3);
    pixels.data.set(row, ((frame.top + y) * canvas.width + frame.left) * 3);
  }
  return pixels;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

const size = ({ width, height }: Size): Size => ({ width, height });

function checkSize({ width, height }: Size): void {
  if (width === 0 || height === 0) throw new ImageError(`image: damaged file: it says ${width} × ${height} pixels`);
  if (width * height > MAX_PIXELS || width > MAX_SIDE || height > MAX_SIDE) {
    throw new ImageError(
      `image: expected at most ${MAX_PIXELS} pixels and ${MAX_SIDE} a side, got ${width} × ${height}`,
      { hint: "make the picture smaller; it is scaled down before the model sees it anyway" },
    );
  }
}

/** Drops alpha, repeats grey; the size must be the one that the header announced. */
function toRgb({ width, height, channels, data }: CodecPixels, header: Size): Pixels {
  const count = width * height;
  if (width !== header.width || height !== header.height || data.length !== count * channels) {
    throw new ImageError(
      `image: damaged file: expected ${header.width} × ${header.height} pixels, got ${width} × ${height}`,
    );
  }
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
  return { width, height, data: TO_RGB[channels](bytes) };
}

type Bytes = Uint8Array<ArrayBuffer>;

const TO_RGB: Record<CodecPixels["channels"], (data: Bytes) => Bytes> = {
  1: repeated,
  3: (rgb) => rgb,
  4: withoutAlpha,
};

function repeated(grey: Bytes): Bytes {
  const rgb = new Uint8Array(3 * grey.length);
  let to = 0;
  for (let from = 0; from < grey.length; from++) {
    const value = grey[from]!;
    rgb[to] = value;
    rgb[to + 1] = value;
    rgb[to + 2] = value;
    to += 3;
  }
  return rgb;
}

/**
 * RGBA → RGB in the same memory, in words: four pixels are four words of the one and three of the other. New memory would
 * take longer to come by than this takes.
 */
function withoutAlpha(data: Bytes): Bytes {
  const rgba = data.byteOffset % 4 === 0 ? data : new Uint8Array(data);
  const count = rgba.length / 4;
  const words = new Int32Array(rgba.buffer, rgba.byteOffset, count);
  const whole = count - (count % 4);
  let to = 0;
  for (let from = 0; from < whole; from += 4) {
    const b = words[from + 1]!;
    const c = words[from + 2]!;
    const d = words[from + 3]!;
    words[to] = (words[from]! & 0xffffff) | (b << 24);
    words[to + 1] = ((b >>> 8) & 0xffff) | (c << 16);
    words[to + 2] = ((c >>> 16) & 0xff) | (d << 8);
    to += 3;
  }
  for (let pixel = whole; pixel < count; pixel++) rgba.copyWithin(3 * pixel, 4 * pixel, 4 * pixel + 3);
  return rgba.subarray(0, 3 * count);
}
