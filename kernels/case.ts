import type { Gpu } from "../src/gpu/gpu.ts";
import { fromHalfArray, toHalfArray } from "../src/tensor/half.ts";
import { type Shape, sizeOf } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

/** Data on the host. `dtype` fixes the element type; without it the tensor follows the precision under test. */
export interface HostTensor {
  readonly shape: Shape;
  readonly data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  readonly dtype?: "f32" | "u32";
}

/** What a reference computes with: the values the GPU sees (rounded to f16 where it sees f16), widened. */
export type HostData = Readonly<Record<string, Float32Array | Uint32Array>>;

/** One list of cases serves the correctness test, the benchmark and the browser run. */
export interface Suite<Case> {
  /** The kernel's stem. */
  readonly name: string;
  readonly cases: readonly Case[];
  readonly inputs: (c: Case, random: Random) => Readonly<Record<string, HostTensor>>;
  readonly run: (inputs: Readonly<Record<string, Tensor>>, c: Case) => Tensor;
  /** Plain loops in float64 over the definition. */
  readonly reference: (inputs: HostData, c: Case) => ArrayLike<number>;
  /** Largest accepted normalised mean square error, Σ(a−b)² / Σb², for f32 and for f16 storage. */
  readonly tolerance: { readonly f32: number; readonly f16: number };
  /** Bytes the kernel must move at the given element size; the benchmark turns it into GB/s. */
  readonly bytes?: (c: Case, elementBytes: number) => number;
  /** Floating-point operations; the benchmark turns it into GFLOP/s. */
  readonly flops?: (c: Case) => number;
  /** False for a case this adapter cannot run, or not at this precision. */
  readonly supports?: (gpu: Gpu, c: Case, dtype: "f32" | "f16") => boolean;
}

export type Random = (shape: Shape) => HostTensor;

/** A suite with its case type hidden, so that suites of different kernels fit one list. */
export interface AnySuite {
  readonly name: string;
  readonly labels: readonly string[];
  readonly run: (gpu: Gpu, index: number, dtype: "f32" | "f16") => Promise<CaseResult>;
  /** Uploads the inputs once and returns a function that encodes one run, for the benchmark. */
  readonly prepare: (
    gpu: Gpu,
    index: number,
    dtype: "f32" | "f16",
  ) => { encode: () => void; bytes: number; flops: number; release: () => void };
}

export interface CaseResult {
  readonly error: number;
  readonly tolerance: number;
  readonly skipped: boolean;
}

export function defineSuite<Case>(suite: Suite<Case>): AnySuite {
  const upload = (gpu: Gpu, c: Case, dtype: "f32" | "f16") => {
    const host = suite.inputs(c, seeded(JSON.stringify([suite.name, c])));
    const tensors: Record<string, Tensor> = {};
    const data: Record<string, Float32Array | Uint32Array> = {};
    for (const [name, tensor] of Object.entries(host)) {
      const half = dtype === "f16" && !tensor.dtype ? toHalfArray(tensor.data) : null;
      tensors[name] = gpu.upload(tensor.shape, half ? "f16" : (tensor.dtype ?? "f32"), half ?? tensor.data);
      data[name] = half ? fromHalfArray(half) : tensor.data;
    }
    return { tensors, data };
  };
  return {
    name: suite.name,
    labels: suite.cases.map((c) => JSON.stringify(c)),
    async run(gpu, index, dtype) {
      const c = suite.cases[index]!;
      const tolerance = suite.tolerance[dtype];
      if (suite.supports && !suite.supports(gpu, c, dtype)) return { error: 0, tolerance, skipped: true };
      const { tensors, data } = upload(gpu, c, dtype);
      const result = gpu.scope(() => gpu.keep(suite.run(tensors, c)));
      const actual = result.dtype === "u32" ? await gpu.readU32(result) : await gpu.read(result);
      for (const tensor of [result, ...Object.values(tensors)]) gpu.release(tensor);
      return { error: nmse(actual, suite.reference(data, c)), tolerance, skipped: false };
    },
    prepare(gpu, index, dtype) {
      const c = suite.cases[index]!;
      const { tensors } = upload(gpu, c, dtype);
      return {
        encode: () => void gpu.scope(() => void suite.run(tensors, c)),
        bytes: suite.bytes?.(c, dtype === "f16" ? 2 : 4) ?? 0,
        flops: suite.flops?.(c) ?? 0,
        release: () => Object.values(tensors).forEach((tensor) => void gpu.release(tensor)),
      };
    },
  };
}

/** Uniform in [-1, 1) with an outlier every 97 elements, since well-behaved inputs hide overflow and cancellation. */
function seeded(seed: string): Random {
  let state = 1;
  for (const char of seed) state = (Math.imul(state, 31) + char.charCodeAt(0)) >>> 0;
  return (shape) => {
    const data = new Float32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      data[i] = (state / 2 ** 31 - 1) * (i % 97 === 96 ? 20 : 1);
    }
    return { shape, data };
  };
}

/** Scales the values of a host tensor, for weights whose size depends on the fan-in. */
export const scaled = (tensor: HostTensor, factor: number): HostTensor => ({
  ...tensor,
  data: Float32Array.from(tensor.data, (value) => value * factor),
});

/** Marks a host tensor as f32 whatever the precision under test. */
export const f32 = (tensor: HostTensor): HostTensor => ({ ...tensor, dtype: "f32" });

export const u32 = (shape: Shape, data: ArrayLike<number>): HostTensor => ({
  shape,
  data: Uint32Array.from(data),
  dtype: "u32",
});

/** Normalised mean square error of `actual` against `expected`; infinite when a value is missing or NaN. */
export function nmse(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let error = 0;
  let power = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    power += expected[i]! ** 2;
  }
  const ratio = error / (power || 1);
  return Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio;
}
