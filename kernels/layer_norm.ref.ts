import { defineSuite } from "./case.ts";
import { layerNorm } from "./layer_norm.ts";

export function layerNormRef(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  eps: number,
): Float64Array {
  const C = weight.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let mean = 0;
    for (let c = 0; c < C; c++) mean += x[start + c]! / C;
    let variance = 0;
    for (let c = 0; c < C; c++) variance += (x[start + c]! - mean) ** 2 / C;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let c = 0; c < C; c++) y[start + c] = (x[start + c]! - mean) * scale * weight[c]! + bias[c]!;
  }
  return y;
}

const EPS = 1e-5;

export default defineSuite({
  name: "layer_norm",
  cases: [
    { rows: 64, dim: 768, offset: 0 }, // stage 3
    { rows: 16, dim: 1536, offset: 0 }, // stage 4
    { rows: 3, dim: 7, offset: 0 }, // narrower than a workgroup
    { rows: 2, dim: 65, offset: 0 }, // one past a workgroup
    { rows: 4, dim: 128, offset: 50 }, // mean far above the deviation
    { rows: 1, dim: 1, offset: 0 }, // no deviation at all
    { rows: 65537, dim: 2, offset: 0 }, // more rows than workgroups fit on one axis
  ],
  inputs: ({ rows, dim, offset }, random) => {
    const { shape, data } = random([rows, dim]);
    return {
      x: { shape, data: Float32Array.from(data, (v) => v + offset) },
      weight: random([dim]),
      bias: random([dim]),
    };
  },
  run: ({ x, weight, bias }) => layerNorm(x!, weight!, bias!, EPS),
  reference: ({ x, weight, bias }) => layerNormRef(x!, weight!, bias!, EPS),
  tolerance: { f32: 1e-11, f16: 1e-6 },
  bytes: ({ rows, dim }, element) => 2 * rows * dim * element,
});
