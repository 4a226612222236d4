import { defineSuite } from "./case.ts";
import { im2col } from "./im2col.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly W: number;
  readonly I: number;
  readonly kernel: number;
  readonly stride: number;
  readonly length: number;
}

const sizeOf = ({ H, W, stride }: Case) => ({ outHeight: Math.ceil(H / stride), outWidth: Math.ceil(W / stride) });

export function im2colRef(x: ArrayLike<number>, c: Case): Float64Array {
  const { outHeight, outWidth } = sizeOf(c);
  const y = new Float64Array(c.B * outHeight * outWidth * c.length);
  for (let place = 0; place < y.length / c.length; place++) {
    const ox = place % outWidth;
    const oy = Math.floor(place / outWidth) % outHeight;
    const b = Math.floor(place / outWidth / outHeight);
    for (let ky = 0; ky < c.kernel; ky++) {
      for (let kx = 0; kx < c.kernel; kx++) {
        const iy = oy * c.stride + ky - (c.kernel - 1) / 2;
        const ix = ox * c.stride + kx - (c.kernel - 1) / 2;
        if (iy < 0 || iy >= c.H || ix < 0 || ix >= c.W) continue;
        for (let i = 0; i < c.I; i++) {
          y[place * c.length + (ky * c.kernel + kx) * c.I + i] = x[((b * c.H + iy) * c.W + ix) * c.I + i]!;
        }
      }
    }
  }
  return y;
}

export default defineSuite<Case>({
  name: "im2col",
  cases: [
    { B: 1, H: 64, W: 64, I: 3, kernel: 3, stride: 2, length: 32 }, // stem
    { B: 2, H: 9, W: 11, I: 5, kernel: 3, stride: 1, length: 48 }, // all windows overlap
    { B: 2, H: 13, W: 17, I: 3, kernel: 3, stride: 2, length: 28 }, // odd sizes: ⌈H / 2⌉ rows
    { B: 1, H: 6, W: 7, I: 4, kernel: 5, stride: 3, length: 100 }, // nothing to fill up
    { B: 1, H: 1, W: 1, I: 1, kernel: 3, stride: 2, length: 12 }, // one pixel
    { B: 3, H: 2, W: 1, I: 4, kernel: 7, stride: 1, length: 256 }, // smaller than the kernel
  ],
  inputs: ({ B, H, W, I }, random) => ({ x: random([B, H, W, I]) }),
  run: ({ x }, { kernel, stride, length }) => im2col(x!, { kernel, stride, length }),
  reference: ({ x }, c) => im2colRef(x!, c),
  tolerance: { f32: 0, f16: 0 },
  bytes: (c, element) => {
    const { outHeight, outWidth } = sizeOf(c);
    return c.B * (c.H * c.W * c.I + outHeight * outWidth * c.length) * element;
  },
});
