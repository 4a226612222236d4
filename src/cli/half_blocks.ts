import type { Pixels } from "../image/pixels.ts";

/**
 * A picture as lines of text for a terminal with 24-bit colour: each character is "▀", its ink the upper of two pixels and its
 * ground the lower.
 *
 * @param columns width in characters
 */
export function halfBlocks({ width, height, data }: Pixels, columns: number): string[] {
  const step = width / columns;
  const rows = Math.max(1, Math.floor(height / step / 2));
  /** Mean colour of the square of pixels that a half character covers. */
  const colour = (column: number, half: number): string => {
    const sum = [0, 0, 0];
    let count = 0;
    for (let y = Math.floor(half * step); y < Math.min(height, Math.ceil((half + 1) * step)); y++) {
      for (let x = Math.floor(column * step); x < Math.min(width, Math.ceil((column + 1) * step)); x++) {
        for (let c = 0; c < 3; c++) sum[c]! += data[(y * width + x) * 3 + c]!;
        count++;
      }
    }
    return sum.map((total) => Math.round(total / Math.max(1, count))).join(";");
  };
  return Array.from({ length: rows }, (_, row) => {
    const cells = Array.from(
      { length: columns },
      (_, column) => `\u001b[38;2;${colour(column, 2 * row)}m\u001b[48;2;${colour(column, 2 * row + 1)}m▀`,
    );
    return `${cells.join("")}\u001b[0m`;
  });
}
