import { defineSuite, f32, scaled } from "./case.ts";
import { conv2d } from "./conv2d.ts";
import { exactGelu } from "./erf.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly W: number;
  readonly I: number;
  readonly O: number;
  readonly stride: number;
  readonly gelu?: boolean;
  readonly bias?: boolean;
}

export function conv2dRef(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  c: Case,
) {
  const outHeight = Math.ceil(c.H / c.stride);
  const outWidth = Math.ceil(c.W / c.stride);
  const y = new Float64Array(c.B * outHeight * outWidth * c.O);
  for (let at = 0; at < y.length; at++) {
    const o = at % c.O;
    const ox = Math.floor(at / c.O) % outWidth;
    const oy = Math.floor(at / c.O / outWidth) % outHeight;
    const b = Math.floor(at / c.O / outWidth / outHeight);
    let sum = bias?.[o] ?? 0;
    for (let ky = 0; ky < 3; ky++) {
      for (let kx = 0; kx < 3; kx++) {
        const iy = oy * c.stride + ky - 1;
        const ix = ox * c.stride + kx - 1;
        if (iy < 0 || iy >= c.H || ix < 0 || ix >= c.W) continue;
        for (let i = 0; i < c.I; i++) {
          sum += x[((b * c.H + iy) * c.W + ix) * c.I + i]! * weight[((ky * 3 + kx) * c.I + i) * c.O + o]!;
        }
      }
    }
    y[at] = c.gelu ? exactGelu(sum) : sum;
  }
  return y;
}

export default defineSuite<Case>({
  name: "conv2d",
  cases: [
    { B: 1, H: 64, W: 64, I: 3, O: 96, stride: 2, bias: true, gelu: true }, // stem
    { B: 2, H: 9, W: 11, I: 5, O: 7, stride: 1, bias: true }, // no channel count a multiple of 4
    { B: 2, H: 13, W: 17, I: 3, O: 6, stride: 2, gelu: true }, // odd sizes: ⌈H / 2⌉ rows
    { B: 1, H: 1, W: 1, I: 1, O: 1, stride: 2, bias: true }, // one pixel
    { B: 3, H: 2, W: 1, I: 4, O: 12, stride: 1 }, // smaller than the kernel
  ],
  inputs: ({ B, H, W, I, O, bias }, random) => ({
    x: random([B, H, W, I]),
    weight: scaled(random([3, 3, I, O]), 0.2),
    ...(bias && { bias: f32(random([O])) }),
  }),
  run: ({ x, weight, bias }, { stride, gelu }) =>
    conv2d(x!, weight!, { bias, stride, ...(gelu && { activation: "gelu" }) }),
  reference: ({ x, weight, bias }, c) => conv2dRef(x!, weight!, bias, c),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  flops: ({ B, H, W, I, O, stride }) => 18 * B * Math.ceil(H / stride) * Math.ceil(W / stride) * I * O,
});
