/** The windows of one axis of a resize, in fixed point. */
export interface ResizeWeights {
  /** Columns of `weights`: the widest window. */
  readonly taps: number;
  /** First input of every output's window. */
  readonly starts: Uint32Array<ArrayBuffer>;
  /** Number of inputs in every output's window. */
  readonly counts: Uint32Array<ArrayBuffer>;
  /** [outputs, taps], in units of 2⁻²²; zero past a window's end. */
  readonly weights: Int32Array<ArrayBuffer>;
}

/** Fractional bits of a weight, Pillow's `PRECISION_BITS`: an 8-bit pixel leaves 2 bits of an i32 for the overshoot. */
const PRECISION_BITS = 22;

/** Support of the bicubic filter, in output pixels (input pixels when enlarging). */
const SUPPORT = 2;

/** Keys' cubic convolution with a = −0.5. */
function bicubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

/**
 * Weights of Pillow's 8-bit bicubic resize along one axis (`precompute_coeffs` and `normalize_coeffs_8bpc` of its
 * `Resample.c`), bit for bit: the filter widens when shrinking, and windows cut by the border are renormalised.
 *
 * @param input   pixels along the axis
 * @param output  pixels wanted
 */
export function resizeWeights(input: number, output: number): ResizeWeights {
  const scale = input / output;
  const filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const starts = new Uint32Array(output);
  const counts = new Uint32Array(output);
  const weights = new Int32Array(output * taps);
  for (let i = 0; i < output; i++) {
    const center = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(input, Math.trunc(center + support + 0.5));
    const window = Array.from({ length: end - start }, (_, j) => bicubic((j + start - center + 0.5) * (1 / filterScale)));
    const sum = window.reduce((total, weight) => total + weight, 0);
    for (const [j, weight] of window.entries()) {
      const fixed = (sum === 0 ? weight : weight / sum) * 2 ** PRECISION_BITS;
      weights[i * taps + j] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    starts[i] = start;
    counts[i] = end - start;
  }
  return { taps, starts, counts, weights };
}
