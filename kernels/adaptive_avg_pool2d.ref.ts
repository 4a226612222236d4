import { adaptiveAvgPool2d } from "./adaptive_avg_pool2d.ts";
import { defineSuite } from "./case.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly W: number;
  readonly C: number;
  readonly h: number;
  readonly w: number;
}

export function adaptiveAvgPool2dRef(x: ArrayLike<number>, { B, H, W, C, h, w }: Case): Float64Array {
  const y = new Float64Array(B * h * w * C);
  for (let at = 0; at < y.length; at++) {
    const j = Math.floor(at / C) % w;
    const i = Math.floor(at / C / w) % h;
    const b = Math.floor(at / C / w / h);
    let sum = 0;
    let count = 0;
    for (let r = Math.floor((i * H) / h); r < Math.ceil(((i + 1) * H) / h); r++) {
      for (let s = Math.floor((j * W) / w); s < Math.ceil(((j + 1) * W) / w); s++) {
        sum += x[((b * H + r) * W + s) * C + (at % C)]!;
        count++;
      }
    }
    y[at] = sum / count;
  }
  return y;
}

export default defineSuite<Case>({
  name: "adaptive_avg_pool2d",
  cases: [
    { B: 1, H: 24, W: 24, C: 64, h: 16, w: 16 }, // overlapping windows
    { B: 2, H: 8, W: 8, C: 5, h: 4, w: 2 }, // windows that tile the map
    { B: 1, H: 5, W: 9, C: 3, h: 16, w: 16 }, // more windows than pixels
    { B: 1, H: 1, W: 1, C: 1, h: 2, w: 3 }, // one pixel
  ],
  inputs: ({ B, H, W, C }, random) => ({ x: random([B, H, W, C]) }),
  run: ({ x }, { h, w }) => adaptiveAvgPool2d(x!, [h, w]),
  reference: ({ x }, c) => adaptiveAvgPool2dRef(x!, c),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ B, H, W, C, h, w }, element) => B * (H * W + h * w) * C * element,
});
