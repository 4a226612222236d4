import { ImageError } from "../errors.ts";

/** Formats that `decodeImage` reads. */
export type ImageFormat = "jpeg" | "png" | "webp";

/** The readable formats as people write them. */
export const FORMAT_NAMES: Readonly<Record<ImageFormat, string>> = { jpeg: "JPEG", png: "PNG", webp: "WebP" };

/** `at`: byte offset of the signature; `.` in a signature stands for any byte. */
const SIGNATURES: readonly { format: string; at: number; bytes: string }[] = [
  { format: "jpeg", at: 0, bytes: "\xff\xd8\xff" },
  { format: "png", at: 0, bytes: "\x89PNG\r\n\x1a\n" },
  { format: "webp", at: 0, bytes: "RIFF....WEBP" },
  { format: "gif", at: 0, bytes: "GIF8" },
  { format: "bmp", at: 0, bytes: "BM" },
  { format: "tiff", at: 0, bytes: "II*\0" },
  { format: "tiff", at: 0, bytes: "MM\0*" },
  { format: "avif", at: 4, bytes: "ftypavi" },
  { format: "heic", at: 4, bytes: "ftyphei" },
  { format: "heic", at: 4, bytes: "ftyphev" },
  { format: "heic", at: 4, bytes: "ftypmif1" },
  { format: "heic", at: 4, bytes: "ftypmsf1" },
  { format: "jpeg xl", at: 0, bytes: "\xff\x0a" },
  { format: "jpeg xl", at: 4, bytes: "JXL \r\n\x87\n" },
  { format: "pdf", at: 0, bytes: "%PDF" },
  { format: "svg", at: 0, bytes: "<svg" },
  { format: "html", at: 0, bytes: "<!DOCTYPE" },
  { format: "html", at: 0, bytes: "<!doctype" },
  { format: "html", at: 0, bytes: "<html" },
];

const matches = (bytes: Uint8Array, at: number, signature: string): boolean => {
  if (bytes.length < at + signature.length) return false;
  for (let i = 0; i < signature.length; i++) {
    if (signature[i] !== "." && bytes[at + i] !== signature.charCodeAt(i)) return false;
  }
  return true;
};

/** The format that the first bytes announce (`"jpeg"`, `"gif"`, `"heic"`, …), or undefined when none is known. */
export function sniffFormat(bytes: Uint8Array): string | undefined {
  return SIGNATURES.find(({ at, bytes: signature }) => matches(bytes, at, signature))?.format;
}

/**
 * The readable format of these bytes.
 *
 * @throws ImageError when they are empty, unknown, or of a format that is not read; the message says what they are
 */
export function readableFormat(bytes: Uint8Array): ImageFormat {
  const hint = "convert the picture to JPEG, PNG or WebP";
  if (bytes.length === 0) throw new ImageError("image: expected JPEG, PNG or WebP, got 0 bytes");
  const format = sniffFormat(bytes);
  if (format === undefined) {
    const start = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new ImageError(`image: expected JPEG, PNG or WebP, got unknown bytes (they start with ${start})`, { hint });
  }
  if (!(format in FORMAT_NAMES)) {
    throw new ImageError(`image: expected JPEG, PNG or WebP, got ${format.toUpperCase()}`, {
      hint: format === "html" ? "the address leads to a web page; use the address of the picture itself" : hint,
    });
  }
  return format as ImageFormat;
}
