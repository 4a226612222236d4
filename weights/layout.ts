// How stored tensors are laid out, and how kernels want them. PyTorch keeps convolutions as OIHW: [O, I/groups, K, K].

/** Depthwise [O, 1, K, K] → [K, K, O]: neighbouring threads work on neighbouring channels. */
export function depthwiseLayout(weight: ArrayLike<number>, outputs: number, kernel: number): Float32Array<ArrayBuffer> {
  const taps = kernel * kernel;
  const result = new Float32Array(taps * outputs);
  for (let o = 0; o < outputs; o++) for (let t = 0; t < taps; t++) result[t * outputs + o] = weight[o * taps + t]!;
  return result;
}

/** Rows of matrices suit every kernel of products when their length is a multiple of this. */
const ROW_MULTIPLE = 32;

/** L: elements of the windows that a dense convolution multiplies, and zeros up to a length that suits products. */
export const windowLength = (inputs: number, kernel: number): number =>
  Math.ceil((kernel * kernel * inputs) / ROW_MULTIPLE) * ROW_MULTIPLE;

/** Dense [O, I, K, K] → [O, L]: a row for each output as `im2col` orders a window, K·K·I and zeros. */
export function denseLayout(
  weight: ArrayLike<number>,
  outputs: number,
  inputs: number,
  kernel: number,
): Float32Array<ArrayBuffer> {
  const taps = kernel * kernel;
  const length = windowLength(inputs, kernel);
  const result = new Float32Array(outputs * length);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let t = 0; t < taps; t++) result[o * length + t * inputs + i] = weight[(o * inputs + i) * taps + t]!;
    }
  }
  return result;
}
