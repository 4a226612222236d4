import { defineSuite, scaled } from "./case.ts";
import { swiglu } from "./swiglu.ts";

export function swigluRef(gateUp: ArrayLike<number>, rows: number, dim: number): Float64Array {
  const y = new Float64Array(rows * dim);
  for (let at = 0; at < y.length; at++) {
    const from = Math.floor(at / dim) * 2 * dim + (at % dim);
    const gate = gateUp[from]!;
    y[at] = (gateUp[from + dim]! * gate) / (1 + Math.exp(-gate));
  }
  return y;
}

interface Case {
  readonly rows: number;
  readonly dim: number;
  /** Multiplies the inputs. */
  readonly scale: number;
  readonly maxBytes?: number;
}

export default defineSuite<Case>({
  name: "swiglu",
  cases: [
    { rows: 1, dim: 17920, scale: 1 }, // decode, Phi-4
    { rows: 29, dim: 4864, scale: 1 }, // prefill, Qwen2-0.5B
    { rows: 3, dim: 7, scale: 1 },
    { rows: 2, dim: 65, scale: 200 }, // exp(−gate) past the range of f32
    { rows: 70, dim: 64, scale: 1, maxBytes: 1 << 14 }, // tensors that must be cut
  ],
  inputs: ({ rows, dim, scale }, random) => ({ gateUp: scaled(random([rows, 2 * dim]), scale) }),
  run: ({ gateUp }, { maxBytes }) => swiglu(gateUp!, maxBytes),
  reference: ({ gateUp }, { rows, dim }) => swigluRef(gateUp!, rows, dim),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ rows, dim }, element) => 3 * rows * dim * element,
});
