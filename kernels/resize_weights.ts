/** The windows of one axis of a resize, in fixed point. */
export interface ResizeWeights {
  /** Columns of `weights`: the widest window. */
  readonly taps: number;
  /** [outputs] first input of every output's window. */
  readonly starts: Uint32Array<ArrayBuffer>;
  /** [outputs] number of inputs in every output's window. */
  readonly counts: Uint32Array<ArrayBuffer>;
  /** [outputs, taps], in units of 2⁻²²; zero past a window's end. */
  readonly weights: Int32Array<ArrayBuffer>;
}

/** Fractional bits of a weight, Pillow's `PRECISION_BITS`: an 8-bit pixel leaves 2 bits of an i32 for the overshoot. */
export const PRECISION_BITS = 22;

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
 * @param part    the outputs to make weights for, when not all are wanted. Default: all of them
 */
export function resizeWeights(input: number, output: number, part = { first: 0, count: output }): ResizeWeights {
  const scale = input / output;
  const filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const starts = new Uint32Array(part.count);
  const counts = new Uint32Array(part.count);
  const weights = new Int32Array(part.count * taps);
  const window = new Float64Array(taps);
  for (let i = 0; i < part.count; i++) {
    const center = (part.first + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(input, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let j = start; j < end; j++) {
      window[j - start] = bicubic((j - center + 0.5) * (1 / filterScale));
      sum += window[j - start]!;
    }
    for (let j = 0; j < end - start; j++) {
      const fixed = (window[j]! / sum) * 2 ** PRECISION_BITS;
      weights[i * taps + j] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5); // half away from zero
    }
    starts[i] = start;
    counts[i] = end - start;
  }
  return { taps, starts, counts, weights };
}
