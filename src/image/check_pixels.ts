import { ImageError } from "../errors.ts";
import { MAX_PIXELS, MAX_SIDE } from "./decode.ts";
import type { Pixels } from "./pixels.ts";

/**
 * Checks pixels that a caller has decoded: other sizes than the data's would be answered like any picture, only wrongly.
 *
 * @param name what errors call the picture
 * @throws ImageError when they are not 8-bit RGB of the size that they say
 */
export function checkPixels({ width, height, data }: Pixels, name: string): void {
  if (!isSide(width) || !isSide(height) || width * height > MAX_PIXELS) {
    throw new ImageError(
      `${name}: width and height: expected whole numbers from 1 to ${MAX_SIDE}, at most ${MAX_PIXELS} pixels, got ${show(width)} × ${show(height)}`,
    );
  }
  // The type of a canvas is as good, once its bytes are RGB.
  const bytes: unknown = data;
  if (!(bytes instanceof Uint8Array || bytes instanceof Uint8ClampedArray)) {
    throw new ImageError(`${name}: data: expected a Uint8Array, got ${bytes === null ? "null" : typeof bytes}`);
  }
  const pixels = width * height;
  if (bytes.length === 3 * pixels) return;
  throw new ImageError(
    `${name}: data: expected ${3 * pixels} bytes, RGB for ${width} × ${height} pixels, got ${bytes.length}`,
    {
      ...(bytes.length === 4 * pixels && {
        hint: "This looks like RGBA, as a canvas gives: leave out each fourth byte.",
      }),
    },
  );
}

const isSide = (side: unknown): boolean => Number.isSafeInteger(side) && Number(side) >= 1 && Number(side) <= MAX_SIDE;

const show = (side: unknown): string => (typeof side === "string" ? JSON.stringify(side) : String(side));
