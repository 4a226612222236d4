export interface RopeTableOptions {
  /** Rows of the table. */
  readonly positions: number;
  readonly rotaryDim: number;
  readonly theta: number;
  /** LongRoPE's divisors of the frequencies, rotaryDim / 2 of them. Default: all 1 */
  readonly factors?: readonly number[];
  /** Multiplies cosines and sines. Default 1 */
  readonly attentionFactor?: number;
}

/**
 * Cosines and sines of rotary positions, [positions, rotaryDim]: cosines in the first half of a row, sines in the second.
 *
 * The frequencies and the angles are rounded to f32, as the reference does: at large positions that rounding is visible.
 */
export function ropeTable({
  positions,
  rotaryDim,
  theta,
  factors,
  attentionFactor = 1,
}: RopeTableOptions): Float32Array<ArrayBuffer> {
  const half = rotaryDim / 2;
  const frequencies = Array.from({ length: half }, (_, i) => {
    const power = Math.fround(theta ** Math.fround((2 * i) / rotaryDim));
    return Math.fround(1 / Math.fround(Math.fround(factors?.[i] ?? 1) * power));
  });
  const table = new Float32Array(positions * rotaryDim);
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(p * frequencies[i]!);
      table[p * rotaryDim + i] = Math.fround(Math.cos(angle)) * attentionFactor;
      table[p * rotaryDim + half + i] = Math.fround(Math.sin(angle)) * attentionFactor;
    }
  }
  return table;
}
