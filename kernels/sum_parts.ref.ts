import type { Activation } from "./activations.ts";
import { defineSuite, f32, scaled } from "./case.ts";
import { exactActivations } from "./erf.ts";
import { sumParts } from "./sum_parts.ts";

interface SumPartsRefOptions {
  readonly factor?: ArrayLike<number> | undefined;
  readonly bias?: ArrayLike<number> | undefined;
  readonly activation?: Activation | undefined;
  readonly scale?: ArrayLike<number> | undefined;
  readonly residual?: ArrayLike<number> | undefined;
}

/** x is [parts, rows, outputs]. */
export function sumPartsRef(
  x: ArrayLike<number>,
  [parts, rows, outputs]: readonly [number, number, number],
  { factor, bias, activation = "none", scale, residual }: SumPartsRefOptions = {},
): Float64Array {
  return Float64Array.from({ length: rows * outputs }, (_, i) => {
    const [row, o] = [Math.floor(i / outputs), i % outputs];
    let sum = 0;
    for (let p = 0; p < parts; p++) sum += x[p * rows * outputs + i]!;
    const value = exactActivations[activation](sum * (factor?.[row] ?? 1) + (bias?.[o] ?? 0));
    return value * (scale?.[o] ?? 1) + (residual?.[i] ?? 0);
  });
}

interface Case {
  readonly parts: number;
  readonly rows: number;
  readonly outputs: number;
  readonly activation?: Activation;
  readonly factor?: boolean;
  readonly bias?: boolean;
  readonly scale?: boolean;
  readonly residual?: boolean;
}

export default defineSuite<Case>({
  name: "sum_parts",
  cases: [
    { parts: 7, rows: 310, outputs: 896, factor: true, residual: true }, // a prompt's down projection, Qwen2-0.5B
    { parts: 5, rows: 256, outputs: 1536, bias: true, scale: true, residual: true }, // last stage of the tower
    { parts: 4, rows: 16, outputs: 1152, factor: true, bias: true }, // packed projection
    { parts: 2, rows: 33, outputs: 20, bias: true, activation: "gelu", scale: true, residual: true },
    { parts: 3, rows: 5, outputs: 4, activation: "relu" },
    { parts: 1, rows: 1, outputs: 4, activation: "sigmoid", factor: true },
  ],
  inputs({ parts, rows, outputs, ...has }, random) {
    return {
      x: f32(scaled(random([parts, rows, outputs]), parts ** -0.5)),
      ...(has.factor && { factor: f32(random([rows])) }),
      ...(has.bias && { bias: random([outputs]) }),
      ...(has.scale && { scale: random([outputs]) }),
      ...(has.residual && { residual: random([rows, outputs]) }),
    };
  },
  run({ x, ...rest }, { rows, outputs, activation }) {
    const y = x!.gpu.empty([rows, outputs], rest.residual?.dtype ?? "f32");
    sumParts(x!, y, { ...rest, activation });
    return y;
  },
  reference: ({ x, factor, bias, scale, residual }, { parts, rows, outputs, activation }) =>
    sumPartsRef(x!, [parts, rows, outputs], { factor, bias, activation, scale, residual }),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ parts, rows, outputs }) => (parts + 1) * rows * outputs * 4,
});
