import { defineSuite, u32 } from "./case.ts";
import { type Rectangle, resizeBicubic, type Size } from "./resize.ts";
import { scaleBytes } from "./scale_bytes.ts";

interface Case {
  readonly source: Size;
  readonly canvas?: Rectangle;
  readonly size: Size;
  readonly crop?: Rectangle;
}

const keys = (x: number): number => {
  const d = Math.abs(x);
  if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1;
  return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0;
};

/** One pass along a line of 8-bit values, by the definition in Pillow's `Resample.c`. */
function resizeLine(line: readonly number[], length: number): number[] {
  const scale = line.length / length;
  const stretch = Math.max(scale, 1);
  return Array.from({ length }, (_, i) => {
    const center = (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - 2 * stretch + 0.5));
    const to = Math.min(line.length, Math.trunc(center + 2 * stretch + 0.5));
    const weights = line.map((_, j) => (j >= from && j < to ? keys((j - center + 0.5) / stretch) : 0));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 2 ** 21;
    for (let j = from; j < to; j++) {
      const fixed = (weights[j]! / total) * 2 ** 22;
      sum += line[j]! * Math.sign(fixed) * Math.round(Math.abs(fixed));
    }
    return Math.min(Math.max(Math.floor(sum / 2 ** 22), 0), 255);
  });
}

/** Resizes the whole canvas, then crops. Channel by channel: rows first, then columns. */
export function resizeRef(bytes: Uint8Array, { source, canvas, size, crop }: Case): Float64Array {
  const { left, top, width, height } = canvas ?? { left: 0, top: 0, ...source };
  const window = crop ?? { left: 0, top: 0, ...size };
  const y = new Float64Array(window.height * window.width * 3);
  for (let c = 0; c < 3; c++) {
    const pixel = (row: number, column: number) => {
      const inside = row >= top && row < top + source.height && column >= left && column < left + source.width;
      return inside ? bytes[((row - top) * source.width + column - left) * 3 + c]! : 0;
    };
    const wide = Array.from({ length: height }, (_, row) =>
      resizeLine(
        Array.from({ length: width }, (_, column) => pixel(row, column)),
        size.width,
      ),
    );
    for (let j = 0; j < window.width; j++) {
      const column = resizeLine(
        wide.map((row) => row[window.left + j]!),
        size.height,
      );
      for (let i = 0; i < window.height; i++) y[(i * window.width + j) * 3 + c] = column[window.top + i]! / 255;
    }
  }
  return y;
}

export default defineSuite<Case>({
  name: "resize",
  cases: [
    { source: { width: 97, height: 61 }, size: { width: 63, height: 40 } },
    { source: { width: 23, height: 17 }, size: { width: 60, height: 64 } },
    { source: { width: 16, height: 9 }, size: { width: 16, height: 9 } }, // nothing to do
    { source: { width: 1, height: 1 }, size: { width: 5, height: 3 } },
    {
      source: { width: 50, height: 31 },
      canvas: { left: 0, top: 9, width: 50, height: 50 },
      size: { width: 64, height: 64 },
    }, // padded to a square
    {
      source: { width: 90, height: 40 },
      size: { width: 72, height: 32 },
      crop: { left: 20, top: 0, width: 32, height: 32 },
    }, // centre crop
  ],
  inputs: ({ source: { width, height } }, random) => {
    const { data } = random([3 * width * height]);
    const bytes = new Uint8Array(Math.ceil(data.length / 4) * 4);
    bytes.set(data.map((v) => (v > 0.5 ? 255 : v < -0.5 ? 0 : Math.round(127 + 200 * v)))); // with hard edges
    return { pixels: u32([bytes.length / 4], new Uint32Array(bytes.buffer)) };
  },
  run({ pixels }, c) {
    const { width, height } = c.crop ?? c.size;
    return scaleBytes(resizeBicubic(pixels!, c), [height, width, 3], "f32");
  },
  reference: ({ pixels }, c) => resizeRef(new Uint8Array(pixels!.buffer), c),
  tolerance: { f32: 1e-14, f16: 1e-14 }, // one step of 1/255 in one pixel would be 1e-9 and more
});
