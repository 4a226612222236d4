// The golden tensors of single kernels: test/golden/manifest.json says what is in the safetensors files.
import { readFileSync } from "node:fs";
import { fromHalf } from "../src/tensor/half.ts";
import { type Shape, sizeOf } from "../src/tensor/shape.ts";
import type { Tolerance } from "./golden.ts";

interface Entry {
  readonly key: string;
  readonly shape: Shape;
  readonly tol_f32?: Tolerance;
  readonly tol_f16?: Tolerance;
}

interface Case {
  readonly name: string;
  readonly op: string;
  readonly params: unknown;
  readonly inputs: Readonly<Record<string, Entry>>;
  readonly outputs: Readonly<Record<string, Entry>>;
}

export interface Golden extends Case {
  readonly input: (name: string) => Float32Array<ArrayBuffer>;
  readonly output: (name: string) => Float32Array<ArrayBuffer>;
  /** Undefined where the golden is to be met exactly. */
  readonly tolerance: (name: string, dtype: "f32" | "f16") => Tolerance | undefined;
}

type Stored = Readonly<Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>>;

const files = new Map<string, { header: Stored; data: Uint8Array<ArrayBuffer> }>();

/** A tensor of test/golden/<file>.safetensors as it is stored. */
export function bytesOf(file: string, key: string): { dtype: string; shape: Shape; bytes: Uint8Array<ArrayBuffer> } {
  let known = files.get(file);
  if (!known) {
    const bytes = new Uint8Array(readFileSync(new URL(`golden/${file}.safetensors`, import.meta.url)));
    const end = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    known = { header: JSON.parse(new TextDecoder().decode(bytes.subarray(8, end))) as Stored, data: bytes.slice(end) };
    files.set(file, known);
  }
  const { dtype, shape, data_offsets } = known.header[key]!;
  return { dtype, shape, bytes: known.data.slice(...data_offsets) };
}

/** A tensor of the kernel goldens, widened to f32. */
function numbers(key: string): Float32Array<ArrayBuffer> {
  const { dtype, bytes } = bytesOf("kernels", key);
  if (dtype === "F32") return new Float32Array(bytes.buffer);
  if (dtype === "F16") return Float32Array.from(new Uint16Array(bytes.buffer), fromHalf);
  if (dtype === "I64") return Float32Array.from(new BigInt64Array(bytes.buffer), Number);
  throw new Error(`${key}: expected F32, F16 or I64, got ${dtype}`);
}

const manifest = JSON.parse(readFileSync(new URL("golden/manifest.json", import.meta.url), "utf8")) as {
  kernels: { cases: Case[] };
};

export const goldens: readonly Golden[] = manifest.kernels.cases.map((c) => ({
  ...c,
  input: (name) => numbers(c.inputs[name]!.key),
  output: (name) => numbers(c.outputs[name]!.key),
  tolerance: (name, dtype) => c.outputs[name]![`tol_${dtype}`],
}));

/** Reorders the axes: axis i of the result is axis `order[i]` of the input. */
export function permute(
  shape: Shape,
  data: ArrayLike<number>,
  order: readonly number[],
): { shape: number[]; data: Float32Array<ArrayBuffer> } {
  const result = order.map((axis) => shape[axis]!);
  const strides = order.map((axis) => sizeOf(shape.slice(axis + 1)));
  const at = (index: number) => {
    let rest = index;
    let from = 0;
    for (let axis = result.length - 1; axis >= 0; axis--) {
      from += (rest % result[axis]!) * strides[axis]!;
      rest = Math.floor(rest / result[axis]!);
    }
    return from;
  };
  return { shape: result, data: Float32Array.from({ length: data.length }, (_, i) => data[at(i)]!) };
}

/** Our result in the golden's layout: NHWC maps become NCHW, [T, heads, D] becomes [heads, T, D], the rest stays. */
export function fromChannelsLast(data: ArrayLike<number>, ours: Shape, golden: Shape): ArrayLike<number> {
  if (golden.length === 4 && ours.length === 4) return permute(ours, data, [0, 3, 1, 2]).data;
  if (golden.length === 3 && ours.length === 3 && ours[0] !== golden[0]) return permute(ours, data, [1, 0, 2]).data;
  return data;
}
