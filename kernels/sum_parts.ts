import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { ACTIVATIONS, type Activation } from "./activations.ts";

const kernel = defineKernel({
  name: "sum_parts",
  source: new URL("../shaders/sum_parts.wgsl", import.meta.url),
  buffers: { x: "read", factor: "read?", bias: "read?", scale: "read?", residual: "read?", y: "update" },
  params: { parts: "u32", rows: "u32", outputs: "u32", first: "u32", stride: "u32" },
  overrides: ["WORKGROUP_SIZE", "HAS_FACTOR", "HAS_BIAS", "ACTIVATION", "HAS_SCALE", "HAS_RESIDUAL"],
});

const WORKGROUP_SIZE = 64;

export interface SumPartsOptions {
  /** f32 [R]: what each row is multiplied by first. */
  readonly factor?: Tensor | undefined;
  /** [O] */
  readonly bias?: Tensor | undefined;
  readonly activation?: Activation | undefined;
  /** [O], after the activation. */
  readonly scale?: Tensor | undefined;
  /** [R, O], added last. */
  readonly residual?: Tensor | undefined;
  /** Column of `y` that the first of `x` belongs to, a multiple of 4. Default 0 */
  readonly first?: number;
}

/**
 * A product whose inputs are cut into parts, which different workgroups add up.
 *
 * @param y        [R, O]; see `sumParts` for it and `options`
 * @param multiply records the runs that write f32 [parts, R, outputs]
 */
export function inParts(
  y: Tensor,
  { parts, outputs }: { readonly parts: number; readonly outputs: number },
  options: SumPartsOptions,
  multiply: (sums: Tensor) => void,
): void {
  y.gpu.scope(() => {
    const sums = y.gpu.empty([parts, y.dims("R O").R, outputs], "f32");
    multiply(sums);
    sumParts(sums, y, options);
    return undefined;
  });
}

/**
 * Ends a product whose inputs were cut into parts: `y = residual + scale · act(factor · Σ_p x[p] + bias)`.
 *
 * @param x  [P, R, outputs], outputs a multiple of 4
 * @param y  [R, O], of which columns `first` to `first + outputs` are written
 * @throws ShapeError when shapes do not fit
 */
export function sumParts(x: Tensor, y: Tensor, options: SumPartsOptions = {}): void {
  const { factor, bias, scale, residual, activation = "none", first = 0 } = options;
  const { parts, rows, outputs } = x.dims("parts rows outputs");
  const { O } = y.dims("R O");
  if (outputs % 4 !== 0 || O % 4 !== 0 || first % 4 !== 0 || first + outputs > O) {
    throw new ShapeError(`sum_parts: expected fours of columns within ${O}, got ${first}…${first + outputs}`);
  }
  expectShape("sum_parts: y", y, [rows, O]);
  if (factor) expectShape("sum_parts: factor", factor, [rows]);
  if (bias) expectShape("sum_parts: bias", bias, [O]);
  if (scale) expectShape("sum_parts: scale", scale, [O]);
  if (residual) expectShape("sum_parts: residual", residual, [rows, O]);
  const overrides = {
    WORKGROUP_SIZE,
    HAS_FACTOR: factor !== undefined,
    HAS_BIAS: bias !== undefined,
    ACTIVATION: ACTIVATIONS[activation],
    HAS_SCALE: scale !== undefined,
    HAS_RESIDUAL: residual !== undefined,
  };
  kernel.run(
    { x, factor, bias, scale, residual, y },
    { parts, rows, outputs, first, stride: O },
    { workgroups: Math.ceil((rows * outputs) / 4 / WORKGROUP_SIZE), overrides },
  );
}
