import type { Pixels } from "./pixels.ts";

/** Where a picture's Exif orientation stands in its file, and what it says. */
export interface Orientation {
  /** 1 to 8, Exif tag 0x0112; 1 is upright. */
  readonly value: number;
  /** Byte offset, in the file, of the byte that holds the value; -1 when there is no such tag. */
  readonly at: number;
}

export const UPRIGHT: Orientation = { value: 1, at: -1 };

const ORIENTATION_TAG = 0x0112;
/** TIFF field types that writers use for this tag: BYTE, SHORT, LONG. */
const FIELD_BYTES: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4 };

/**
 * Reads the orientation from Exif data, which is a small TIFF file (Exif 2.3 §4.5).
 *
 * Never throws: data that makes no sense says "upright".
 *
 * @param file   the whole picture file
 * @param start  offset of the Exif data in it, with or without the prefix `Exif\0\0`
 * @param end    offset past the Exif data
 */
export function readExifOrientation(file: Uint8Array, start: number, end: number): Orientation {
  const EXIF = 0x45786966;
  const view = new DataView(file.buffer, file.byteOffset, Math.min(end, file.length));
  const tiff = start + 6 <= view.byteLength && view.getUint32(start) === EXIF ? start + 6 : start;
  if (tiff + 8 > view.byteLength) return UPRIGHT;

  const order = view.getUint16(tiff);
  if (order !== 0x4949 && order !== 0x4d4d) return UPRIGHT;
  const little = order === 0x4949;
  const directory = tiff + view.getUint32(tiff + 4, little);
  if (directory + 2 > view.byteLength) return UPRIGHT;

  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const entry = directory + 2 + 12 * i;
    if (entry + 12 > view.byteLength) return UPRIGHT;
    if (view.getUint16(entry, little) !== ORIENTATION_TAG) continue;
    const size = FIELD_BYTES[view.getUint16(entry + 2, little)];
    if (size === undefined || view.getUint32(entry + 4, little) !== 1) return UPRIGHT;
    const at = little ? entry + 8 : entry + 8 + size - 1; // values are 1 to 8: one byte holds them
    const value = view.getUint8(at);
    return value >= 1 && value <= 8 ? { value, at } : UPRIGHT;
  }
  return UPRIGHT;
}

/** The same file with its orientation set to "upright", so that no decoder can turn the picture on its own. */
export function withoutOrientation(file: Uint8Array, { value, at }: Orientation): Uint8Array {
  if (value === 1) return file;
  const upright = new Uint8Array(file); // a copy; `slice` of a Node Buffer is none
  upright[at] = 1;
  return upright;
}

/**
 * Turns a picture upright according to its Exif orientation.
 *
 * 1 as it is, 2 mirrored left-right, 3 turned by 180°, 4 mirrored top-bottom, 5 transposed, 6 turned clockwise,
 * 7 transposed along the other diagonal, 8 turned counter-clockwise.
 *
 * @param orientation 1 to 8
 * @returns the picture itself for 1, otherwise a new one
 */
export function applyOrientation(pixels: Pixels, orientation: number): Pixels {
  if (orientation === 1) return pixels;
  const { width, height, data } = pixels;
  const turned = orientation >= 5;
  const out = { width: turned ? height : width, height: turned ? width : height, data: new Uint8Array(data.length) };

  // Position of the output's first pixel in the input, and the input step per output column and row, in pixels.
  const mirrorX = orientation === 2 || orientation === 3 || orientation === 7 || orientation === 8;
  const mirrorY = orientation === 3 || orientation === 4 || orientation === 6 || orientation === 7;
  const first = (mirrorX ? width - 1 : 0) + (mirrorY ? (height - 1) * width : 0);
  const inputX = mirrorX ? -1 : 1;
  const inputY = mirrorY ? -width : width;
  const [stepColumn, stepRow] = turned ? [inputY, inputX] : [inputX, inputY];

  let to = 0;
  for (let y = 0; y < out.height; y++) {
    let from = (first + y * stepRow) * 3;
    for (let x = 0; x < out.width; x++) {
      out.data[to] = data[from]!;
      out.data[to + 1] = data[from + 1]!;
      out.data[to + 2] = data[from + 2]!;
      to += 3;
      from += stepColumn * 3;
    }
  }
  return out;
}
