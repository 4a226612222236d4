import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { headerLength, parseHeader } from "../weights/safetensors.ts";

/** Folder of the fixtures that the reference implementations wrote. */
export const GOLDEN = new URL("./golden/", import.meta.url);

export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Uint8Array | Int32Array | BigInt64Array;
}

/** |got − want| ≤ atol + rtol·|want| */
export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

interface Expectation {
  readonly shape: readonly number[];
  readonly tol_f32?: Tolerance;
  readonly tol_f16?: Tolerance;
}

export interface GoldenRun {
  readonly model: string;
  readonly file: string;
  readonly tensors: Readonly<Record<string, Expectation>>;
}

export const manifest = JSON.parse(readFileSync(new URL("manifest.json", GOLDEN), "utf8")) as {
  readonly runs: Readonly<Record<string, GoldenRun>>;
};

const TYPES = { F32: Float32Array, F64: Float64Array, U8: Uint8Array, I32: Int32Array, I64: BigInt64Array } as const;

/** Every tensor of a safetensors file of types tests use. */
export function readTensors(file: string): Record<string, GoldenTensor> {
  return tensorsOf(file, new Uint8Array(readFileSync(new URL(file, GOLDEN))));
}

/** The same, from a file's bytes. */
export function tensorsOf(file: string, bytes: Uint8Array<ArrayBuffer>): Record<string, GoldenTensor> {
  const length = headerLength(file, bytes.subarray(0, 8), bytes.length);
  const result: Record<string, GoldenTensor> = {};
  for (const { name, dtype, shape, start, end } of parseHeader(file, bytes.subarray(8, 8 + length), bytes.length)
    .tensors) {
    const type = TYPES[dtype as keyof typeof TYPES];
    if (type) result[name] = { shape, data: new type(bytes.slice(start, end).buffer) };
  }
  return result;
}

/** Asserts |got − want| ≤ atol + rtol·|want| for every element, and says where it is worst. */
export function assertClose(
  name: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  { atol, rtol }: Tolerance,
): void {
  assert.equal(got.length, want.length, `${name}: number of elements`);
  let worst = -1;
  let excess = 0;
  for (let i = 0; i < want.length; i++) {
    const distance = Math.abs(got[i]! - want[i]!);
    const ratio = distance / (atol + rtol * Math.abs(want[i]!));
    if (!(ratio <= Math.max(1, excess))) {
      worst = i;
      excess = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio;
    }
  }
  assert.equal(
    worst,
    -1,
    `${name}[${worst}]: expected ${want[worst]}, got ${got[worst]}: ${excess.toFixed(1)} × the tolerance`,
  );
}
