import { defineSuite } from "./case.ts";
import { channelMean } from "./channel_mean.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly W: number;
  readonly C: number;
}

export function channelMeanRef(x: ArrayLike<number>, { B, H, W, C }: Case): Float64Array {
  const y = new Float64Array(B * C);
  for (let b = 0; b < B; b++) {
    for (let p = 0; p < H * W; p++) {
      for (let c = 0; c < C; c++) y[b * C + c]! += x[(b * H * W + p) * C + c]! / (H * W);
    }
  }
  return y;
}

export default defineSuite<Case>({
  name: "channel_mean",
  cases: [
    { B: 1, H: 16, W: 16, C: 3072 }, // squeeze of the last convolution at 1024²
    { B: 2, H: 5, W: 3, C: 33 },
    { B: 1, H: 1, W: 1, C: 1 },
  ],
  inputs: ({ B, H, W, C }, random) => ({ x: random([B, H, W, C]) }),
  run: ({ x }) => channelMean(x!),
  reference: ({ x }, c) => channelMeanRef(x!, c),
  tolerance: { f32: 1e-12, f16: 1e-12 }, // the result is f32 whatever the input
  bytes: ({ B, H, W, C }, element) => B * H * W * C * element,
});
