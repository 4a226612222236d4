import { ImageError } from "../errors.ts";
import { type Orientation, readExifOrientation, UPRIGHT } from "./orientation.ts";
import type { Pixels } from "./pixels.ts";
import { expandRow, unfilterRow } from "./png_rows.ts";

/** Header of a PNG file (PNG 3rd edition §11.2.1) and where its parts lie. */
export interface PngInfo {
  readonly width: number;
  readonly height: number;
  /** Bits per sample: 1, 2, 4, 8 or 16. */
  readonly depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA. */
  readonly colorType: number;
  readonly interlaced: boolean;
  /** RGB triples of colour type 3. */
  readonly palette: Uint8Array;
  /** Compressed pixels, in order. */
  readonly data: readonly Uint8Array[];
  readonly orientation: Orientation;
}

/** Samples per pixel of each colour type, and the depths it allows. */
const COLOR_TYPES: Readonly<Record<number, { samples: number; depths: readonly number[] }>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** The pixels that one pass of an interlaced picture holds: every dx-th column from x, every dy-th row from y. */
interface Pass {
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
}

const WHOLE: readonly Pass[] = [{ x: 0, y: 0, dx: 1, dy: 1 }];
const ADAM7: readonly Pass[] = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
];

/**
 * Reads the chunks of a PNG file up to its pixels' end.
 *
 * @throws ImageError when a chunk is cut off, damaged or missing
 */
export function readPng(file: Uint8Array): PngInfo {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let header: Pick<PngInfo, "width" | "height" | "depth" | "colorType" | "interlaced"> | undefined;
  let palette: Uint8Array = new Uint8Array(0);
  let orientation = UPRIGHT;
  const data: Uint8Array[] = [];

  for (let at = 8; at + 8 <= file.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...file.subarray(at + 4, at + 8));
    const start = at + 8;
    const end = start + length;
    if (end + 4 > file.length)
      throw truncated(`chunk ${JSON.stringify(name)} ends at byte ${end + 4} of ${file.length}`);
    if (name === "IHDR" || name === "PLTE") checkSum(file, view, at + 4, end, name);
    const body = file.subarray(start, end);
    if (header === undefined && name !== "IHDR")
      throw new ImageError("image: damaged PNG: it does not start with a header");
    if (name === "IHDR") header ??= readHeader(view, start, length);
    else if (name === "PLTE") palette = body;
    else if (name === "eXIf") orientation = readExifOrientation(file, start, end);
    else if (name === "IDAT") data.push(body);
    else if (name === "IEND") break;
    at = end + 4;
  }
  if (!header || data.length === 0) throw truncated("no pixels before the end of the file");
  if (header.colorType === 3 && palette.length === 0) throw new ImageError("image: damaged PNG: it has no palette");
  return { ...header, palette, data, orientation };
}

/**
 * Decodes a PNG to the pixels of Pillow's `convert("RGB")`.
 *
 * Alpha and colour keys are dropped, not composited. Of 16-bit samples the upper byte is kept, except for plain grey,
 * which Pillow clips at 255. Palette entries that do not exist are black.
 *
 * @throws ImageError when the pixels are damaged or incomplete
 */
export async function decodePng(png: PngInfo): Promise<Pixels> {
  const { width, height, depth, colorType } = png;
  const bitsPerPixel = COLOR_TYPES[colorType]!.samples * depth;
  const filterStep = Math.max(1, bitsPerPixel >> 3);
  const pixels = { width, height, data: new Uint8Array(width * height * 3) };
  const source = new InflatedBytes(png.data);

  try {
    for (const { x, y, dx, dy } of png.interlaced ? ADAM7 : WHOLE) {
      if (x >= width || y >= height) continue;
      const columns = Math.ceil((width - x) / dx);
      let row = new Uint8Array(1 + Math.ceil((columns * bitsPerPixel) / 8)); // filter type, samples
      let above = new Uint8Array(row.length);
      for (let line = y; line < height; line += dy) {
        while (!source.take(row)) {
          if (!(await source.more())) throw truncated(`row ${line} of ${height} is incomplete`);
        }
        unfilterRow(row, above, filterStep);
        expandRow(png, row, columns, pixels.data, (line * width + x) * 3, dx * 3);
        [row, above] = [above, row];
      }
    }
    await source.finish();
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    throw new ImageError("image: damaged PNG: its pixels do not decompress", { cause });
  } finally {
    source.cancel();
  }
  return pixels;
}

/** Zlib data, inflated piece by piece, so that a small file cannot ask for more memory than its pixels need. */
class InflatedBytes {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** Bytes already copied into the row that `take` is filling. */
  #filled = 0;

  constructor(parts: readonly Uint8Array[]) {
    const blob = new Blob([...parts] as BlobPart[]);
    this.#reader = blob.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  }

  /** Fills `row` from what has been inflated; false when that is not enough and `more` has to be called first. */
  take(row: Uint8Array): boolean {
    const count = Math.min(row.length - this.#filled, this.#piece.length - this.#at);
    row.set(this.#piece.subarray(this.#at, this.#at + count), this.#filled);
    this.#at += count;
    this.#filled += count;
    if (this.#filled < row.length) return false;
    this.#filled = 0;
    return true;
  }

  /** Inflates the next piece; false at the end. */
  async more(): Promise<boolean> {
    const { done, value } = await this.#reader.read();
    this.#piece = value ?? new Uint8Array(0);
    this.#at = 0;
    return !done;
  }

  /** Reads what is left, so that the checksum at the end is tested; gives up after 1 MiB, which no picture needs. */
  async finish(): Promise<void> {
    for (let left = 1 << 20; left > 0 && (await this.more()); ) left -= this.#piece.length;
  }

  cancel(): void {
    this.#reader.cancel().catch(() => {}); // already failed or at its end
  }
}

function readHeader(view: DataView, at: number, length: number) {
  if (length !== 13) throw new ImageError(`image: damaged PNG: expected a header of 13 bytes, got ${length}`);
  const [depth, colorType] = [view.getUint8(at + 8), view.getUint8(at + 9)];
  const [compression, filter, interlace] = [view.getUint8(at + 10), view.getUint8(at + 11), view.getUint8(at + 12)];
  if (!COLOR_TYPES[colorType]?.depths.includes(depth) || compression !== 0 || filter !== 0 || interlace > 1) {
    throw new ImageError(
      `image: damaged PNG: depth ${depth}, colour type ${colorType}, methods ${compression}, ${filter}, ${interlace}`,
    );
  }
  return { width: view.getUint32(at), height: view.getUint32(at + 4), depth, colorType, interlaced: interlace === 1 };
}

function checkSum(file: Uint8Array, view: DataView, start: number, end: number, name: string): void {
  let crc = 0xffffffff;
  for (let i = start; i < end; i++) {
    crc ^= file[i]!;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  if (~crc >>> 0 !== view.getUint32(end)) throw new ImageError(`image: damaged PNG: wrong checksum of chunk ${name}`);
}

const truncated = (reason: string): ImageError =>
  new ImageError(`image: truncated PNG: ${reason}`, { hint: "download or copy the file again" });
