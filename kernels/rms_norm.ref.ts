import { defineSuite } from "./case.ts";
import { rmsNorm } from "./rms_norm.ts";

export function rmsNormRef(x: ArrayLike<number>, weight: ArrayLike<number>, eps: number): Float64Array {
  const C = weight.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += x[start + c]! ** 2;
    const scale = 1 / Math.sqrt(sum / C + eps);
    for (let c = 0; c < C; c++) y[start + c] = x[start + c]! * scale * weight[c]!;
  }
  return y;
}

const EPS = 1e-5;

export default defineSuite({
  name: "rms_norm",
  cases: [
    { rows: 1, dim: 5120 }, // decode, Phi-4
    { rows: 290, dim: 896 }, // prefill, Qwen2-0.5B
    { rows: 3, dim: 7 }, // narrower than a workgroup
    { rows: 2, dim: 65 }, // one past a workgroup
    { rows: 65537, dim: 2 }, // more rows than workgroups fit on one axis
  ],
  inputs: ({ rows, dim }, random) => ({ x: random([rows, dim]), weight: random([dim]) }),
  run: ({ x, weight }) => rmsNorm(x!, weight!, EPS),
  reference: ({ x, weight }) => rmsNormRef(x!, weight!, EPS),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ rows, dim }, element) => 2 * rows * dim * element,
});
