import { crc32, deflateSync } from "node:zlib";

export interface PngSpec {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colorType: number;
  readonly interlaced?: boolean;
  /** [height, width · samples] sample values, 0 to 2^depth − 1. */
  readonly samples: readonly (readonly number[])[];
  readonly palette?: readonly number[];
}

const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

export const samplesPerPixel = (colorType: number): number => ({ 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 })[colorType]!;

export function pngChunk(name: string, body: Uint8Array): Buffer {
  const named = Buffer.concat([Buffer.from(name, "latin1"), body]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

/** A PNG file around compressed pixels. */
export function pngFile({ width, height, depth, colorType, interlaced, palette }: PngSpec, data: Uint8Array): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colorType, 0, 0, interlaced ? 1 : 0], 8);
  const half = data.length >> 1; // two chunks, because readers have to join them
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    pngChunk("IHDR", header),
    ...(palette ? [pngChunk("PLTE", Uint8Array.from(palette))] : []),
    pngChunk("IDAT", data.subarray(0, half)),
    pngChunk("IDAT", data.subarray(half)),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Encodes a PNG; row filters take turns. */
export function encodePng(spec: PngSpec): Buffer {
  const step = Math.max(1, (samplesPerPixel(spec.colorType) * spec.depth) >> 3);
  const samples = samplesPerPixel(spec.colorType);
  const rows: number[] = [];
  for (const [left, top, dx, dy] of spec.interlaced ? ADAM7 : [[0, 0, 1, 1] as const]) {
    let above: number[] = [];
    for (let y = top; y < spec.height && left < spec.width; y += dy) {
      const values = spec.samples[y]!.filter((_, i) => {
        const x = Math.floor(i / samples);
        return x >= left && (x - left) % dx === 0;
      });
      const row = pack(values, spec.depth);
      const filter = y % 5;
      rows.push(filter, ...row.map((byte, i) => (byte - predict(filter, row, above, i, step)) & 255));
      above = row;
    }
  }
  return pngFile(spec, deflateSync(Uint8Array.from(rows)));
}

function pack(values: readonly number[], depth: number): number[] {
  if (depth === 16) return values.flatMap((value) => [value >> 8, value & 255]);
  const perByte = 8 / depth;
  const bytes = new Array<number>(Math.ceil(values.length / perByte)).fill(0);
  values.forEach((value, i) => {
    bytes[Math.floor(i / perByte)]! |= value << (8 - depth * ((i % perByte) + 1));
  });
  return bytes;
}

function predict(filter: number, row: number[], above: number[], i: number, step: number): number {
  const [left, up, corner] = [row[i - step] ?? 0, above[i] ?? 0, i < step ? 0 : (above[i - step] ?? 0)];
  if (filter < 4) return [0, left, up, (left + up) >> 1][filter]!;
  const estimate = left + up - corner;
  return [left, up, corner].reduce((best, v) => (Math.abs(estimate - v) < Math.abs(estimate - best) ? v : best));
}
