// How stored tensors are laid out, and how kernels want them. PyTorch keeps convolutions as OIHW: [O, I/groups, K, K].

/** Depthwise [O, 1, K, K] → [K, K, O]: neighbouring threads work on neighbouring channels. */
export function depthwiseLayout(weight: ArrayLike<number>, outputs: number, kernel: number): Float32Array<ArrayBuffer> {
  const taps = kernel * kernel;
  const result = new Float32Array(taps * outputs);
  for (let o = 0; o < outputs; o++) for (let t = 0; t < taps; t++) result[t * outputs + o] = weight[o * taps + t]!;
  return result;
}

/** Dense [O, I, K, K] → [K, K, I, O] (HWIO). */
export function denseLayout(
  weight: ArrayLike<number>,
  outputs: number,
  inputs: number,
  kernel: number,
): Float32Array<ArrayBuffer> {
  const taps = kernel * kernel;
  const result = new Float32Array(taps * inputs * outputs);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let t = 0; t < taps; t++) result[(t * inputs + i) * outputs + o] = weight[(o * inputs + i) * taps + t]!;
    }
  }
  return result;
}
