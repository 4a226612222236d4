import { defineSuite, f32, scaled } from "./case.ts";
import { depthwiseConv2d } from "./depthwise_conv2d.ts";
import { exactGelu } from "./erf.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly W: number;
  readonly C: number;
  readonly O: number;
  readonly K: number;
  readonly stride: number;
  readonly gelu?: boolean;
  readonly bias?: boolean;
}

export function depthwiseConv2dRef(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  c: Case,
): Float64Array {
  const outHeight = Math.ceil(c.H / c.stride);
  const outWidth = Math.ceil(c.W / c.stride);
  const padding = Math.floor(c.K / 2);
  const y = new Float64Array(c.B * outHeight * outWidth * c.O);
  for (let at = 0; at < y.length; at++) {
    const o = at % c.O;
    const ox = Math.floor(at / c.O) % outWidth;
    const oy = Math.floor(at / c.O / outWidth) % outHeight;
    const b = Math.floor(at / c.O / outWidth / outHeight);
    const channel = Math.floor((o * c.C) / c.O);
    let sum = bias?.[o] ?? 0;
    for (let ky = 0; ky < c.K; ky++) {
      for (let kx = 0; kx < c.K; kx++) {
        const iy = oy * c.stride + ky - padding;
        const ix = ox * c.stride + kx - padding;
        if (iy < 0 || iy >= c.H || ix < 0 || ix >= c.W) continue;
        sum += x[((b * c.H + iy) * c.W + ix) * c.C + channel]! * weight[(ky * c.K + kx) * c.O + o]!;
      }
    }
    y[at] = c.gelu ? exactGelu(sum) : sum;
  }
  return y;
}

export default defineSuite<Case>({
  name: "depthwise_conv2d",
  cases: [
    { B: 1, H: 32, W: 32, C: 96, O: 96, K: 3, stride: 2, bias: true, gelu: true }, // stem
    { B: 1, H: 16, W: 16, C: 384, O: 384, K: 7, stride: 1, bias: true }, // feed-forward mixer
    { B: 1, H: 16, W: 16, C: 48, O: 96, K: 7, stride: 2, bias: true, gelu: true }, // downsampling
    { B: 1, H: 4, W: 4, C: 96, O: 192, K: 3, stride: 1, bias: true }, // last convolution
    { B: 2, H: 9, W: 13, C: 4, O: 4, K: 7, stride: 1 }, // 8 pixels a thread: one whole group, one part
    { B: 2, H: 7, W: 19, C: 8, O: 8, K: 7, stride: 2, gelu: true }, // odd sizes: ⌈H / 2⌉ rows
    { B: 2, H: 6, W: 10, C: 8, O: 8, K: 7, stride: 1, bias: true }, // rows in pairs, of two images
    { B: 1, H: 4, W: 131, C: 8, O: 8, K: 7, stride: 1, bias: true }, // strips of 64 pixels: two whole ones, one part
    { B: 1, H: 2, W: 65, C: 4, O: 4, K: 3, stride: 1 },
    { B: 2, H: 5, W: 9, C: 5, O: 5, K: 3, stride: 1, bias: true }, // channels not a multiple of 4
    { B: 2, H: 5, W: 3, C: 6, O: 12, K: 3, stride: 1 }, // two outputs per input, quads that share a word pair
    { B: 1, H: 2, W: 3, C: 4, O: 4, K: 7, stride: 1, bias: true }, // map smaller than the kernel
    { B: 1, H: 1, W: 1, C: 3, O: 6, K: 7, stride: 2 }, // one pixel
  ],
  inputs: ({ B, H, W, C, O, K, bias }, random) => ({
    x: random([B, H, W, C]),
    weight: scaled(random([K, K, O]), 1 / K),
    ...(bias && { bias: f32(random([O])) }),
  }),
  run: ({ x, weight, bias }, { stride, gelu }) =>
    depthwiseConv2d(x!, weight!, { bias, stride, ...(gelu && { activation: "gelu" }) }),
  reference: ({ x, weight, bias }, c) => depthwiseConv2dRef(x!, weight!, bias, c),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ B, H, W, C, O, stride }, element) => B * H * W * (C + O / stride ** 2) * element,
  flops: ({ B, H, W, O, K, stride }) => 2 * B * Math.ceil(H / stride) * Math.ceil(W / stride) * O * K * K,
});
