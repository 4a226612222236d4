import { ImageError } from "../errors.ts";
import { JpegFrame } from "./jpeg_frame.ts";
import { type Orientation, readExifOrientation, UPRIGHT } from "./orientation.ts";

/** What the markers of a JPEG file say, read without decoding. */
export interface JpegInfo {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 colour, 4 CMYK or YCCK. */
  readonly components: number;
  /** Times that a decoder goes over the picture; more than one when it is progressive. */
  readonly scans: number;
  /** An Adobe segment is present; it says how four components are stored. */
  readonly adobe: boolean;
  readonly orientation: Orientation;
  /** Of a kind that every libjpeg decodes to the same bytes. */
  readonly plain: boolean;
  /** Byte ranges, in order, of the segments in front of the first scan that say nothing about its pixels. */
  readonly metadata: readonly (readonly [start: number, end: number])[];
  /** Byte offset past the end-of-image marker. */
  readonly end: number;
}

const SOF_FIRST = 0xc0;
const SOF_LAST = 0xcf;
const [DHT, JPG, DAC, EOI, SOS, APP1, APP14, COM] = [0xc4, 0xc8, 0xcc, 0xd9, 0xda, 0xe1, 0xee, 0xfe];

/** TEM, the restart markers and SOI: markers that no length follows. */
const standsAlone = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);

/** A start-of-frame marker, whatever its coding process. */
const isFrame = (marker: number): boolean =>
  marker >= SOF_FIRST && marker <= SOF_LAST && marker !== DHT && marker !== JPG && marker !== DAC;

/** Segments of applications and comments, but for JFIF's (APP0) and Adobe's, by which decoders choose colours. */
const isMetadata = (marker: number): boolean =>
  marker === COM || (marker >= APP1 && marker <= 0xef && marker !== APP14);

/**
 * Walks the markers of a JPEG file (ITU-T T.81 annex B) to its end.
 *
 * Decoders fill what a cut-off file lacks with grey, so a missing end is refused here.
 *
 * @throws ImageError when the file ends early, or has no frame header before its first scan
 */
export function readJpeg(file: Uint8Array): JpegInfo {
  let frame: JpegFrame | undefined;
  let orientation = UPRIGHT;
  let adobe = false;
  let scans = 0;
  const metadata: [number, number][] = [];

  let at = nextMarker(file, 2);
  for (; ; at = nextMarker(file, at)) {
    const marker = file[at + 1];
    if (marker === undefined) throw truncated(file, "no end-of-image marker");
    at += 2;
    if (marker === EOI) break;
    if (standsAlone(marker)) continue;

    if (at + 2 > file.length) throw truncated(file, "the last segment has no length");
    const length = uint16(file, at);
    if (length < 2) throw new ImageError(`image: damaged JPEG: a segment length of ${length} at byte ${at}`);
    if (at + length > file.length) throw truncated(file, `a segment ends at byte ${at + length}`);
    const body = at + 2;
    at += length;

    if (isFrame(marker)) {
      if (length < 8) throw new ImageError("image: damaged JPEG: the frame header is too short");
      frame ??= new JpegFrame(marker, file.subarray(body, at));
    } else if (marker === APP1 && orientation === UPRIGHT && ascii(file, body, 4) === "Exif") {
      orientation = readExifOrientation(file, body, at);
    } else if (marker === APP14 && ascii(file, body, 5) === "Adobe") {
      adobe = true;
    } else if (marker === SOS) {
      if (!frame) throw new ImageError("image: damaged JPEG: no frame header before the first scan");
      frame.scan(file.subarray(body, at));
      scans++;
    }
    if (scans === 0 && isMetadata(marker)) metadata.push([body - 4, at]);
  }
  if (!frame || scans === 0) throw new ImageError("image: damaged JPEG: it ends before the first scan");
  const { width, height, components, plain } = frame;
  return { width, height, components, scans, adobe, orientation, plain, metadata, end: at };
}

/**
 * Offset of the next marker's 0xff at or after `at`, or of the file's end. Entropy-coded data is skipped on the way: there
 * 0xff is followed by a stuffed zero.
 */
function nextMarker(file: Uint8Array, at: number): number {
  for (let i = file.indexOf(0xff, at); i >= 0; i = file.indexOf(0xff, i + 1)) {
    const next = file[i + 1];
    if (next !== 0 && next !== 0xff) return i;
  }
  return file.length;
}

/**
 * The same file as a decoder should see it: the picture alone, without orientation, colour profile, gain map, thumbnail, or
 * further pictures behind it.
 */
export function withoutMetadata(file: Uint8Array, { metadata, end }: JpegInfo): Uint8Array {
  if (metadata.length === 0) return file.subarray(0, end);
  const out = new Uint8Array(metadata.reduce((length, [from, to]) => length - (to - from), end));
  let [read, written] = [0, 0];
  for (const [from, to] of [...metadata, [end, end] as const]) {
    out.set(file.subarray(read, from), written);
    written += from - read;
    read = to;
  }
  return out;
}

/**
 * The same file with an Adobe segment that says "CMYK, inverted": what four components mean when nothing is said.
 * The segment: APP14, length 14, "Adobe", version 100, two words of flags, transform 0.
 */
export function withAdobeSegment(file: Uint8Array): Uint8Array {
  const segment = [0xff, APP14, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, 0];
  const out = new Uint8Array(file.length + segment.length);
  out.set(file.subarray(0, 2));
  out.set(segment, 2);
  out.set(file.subarray(2), 2 + segment.length);
  return out;
}

const truncated = (file: Uint8Array, reason: string): ImageError =>
  new ImageError(`image: truncated JPEG: the file has ${file.length} bytes, ${reason}`, {
    hint: "download or copy the file again",
  });

const uint16 = (file: Uint8Array, at: number): number => (file[at]! << 8) | file[at + 1]!;

const ascii = (file: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...file.subarray(at, at + length));
