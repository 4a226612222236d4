import { GpuError } from "../errors.ts";
import type { DType } from "../tensor/tensor.ts";
import type { AnyKernelSpec, ParamType } from "./kernel.ts";

/**
 * The one generated line in front of a shader: extensions, an element-type alias per buffer (`x_t` for buffer `x`), and
 * the constants that size private arrays.
 */
export function prelude(
  spec: AnyKernelSpec,
  dtypes: readonly DType[],
  constants: Readonly<Record<string, number>>,
): string {
  const features = new Set<string>(spec.features);
  if (dtypes.includes("f16")) features.add("f16");
  const enables = Array.from(features, (feature) => `enable ${feature};`);
  const aliases = Object.keys(spec.buffers).map((name, i) => `alias ${name}_t = ${dtypes[i]};`);
  const numbers = Object.entries(constants).map(([name, value]) => `const ${name} = ${value}u;`);
  return `${[...enables, ...aliases, ...numbers].join(" ")}\n`;
}

/**
 * Shaders declare their parameters as group 1. They are bound behind the last buffer of group 0 all the same: a second group would
 * cost another call per kernel run.
 */
export function withParams(text: string, binding: number): string {
  return text.replace(/@group\(1\) @binding\(0\)/, `@group(0) @binding(${binding})`);
}

/** Writes parameters as the shader's `struct Params`. */
export class Packer {
  /** Of the words, in order. */
  readonly names: readonly string[];
  readonly #isFloat: readonly boolean[];

  constructor(types: Readonly<Record<string, ParamType>>) {
    this.names = Object.keys(types);
    this.#isFloat = this.names.map((name) => types[name] === "f32");
  }

  /** Into memory that is seen as words and as floats, from word `at` on. */
  write(values: Readonly<Record<string, number>>, words: Uint32Array, floats: Float32Array, at: number): void {
    for (let i = 0; i < this.names.length; i++) {
      (this.#isFloat[i] ? floats : words)[at + i] = values[this.names[i]!]!;
    }
  }
}

const DECLARED = {
  read: "read",
  "read?": "read",
  uniform: "uniform",
  write: "read_write",
  update: "read_write",
} as const;

/** Compares the signature in TypeScript with the declarations in the shader; throws when they differ. */
export function checkHeader(spec: AnyKernelSpec, text: string): void {
  const wgsl = text.replace(/\/\/.*$/gm, "");
  const bindings = /@group\(0\)\s*@binding\((\d+)\)\s*var<(?:storage,\s*)?(read|read_write|uniform)>\s*(\w+)/g;
  const declared = [...wgsl.matchAll(bindings)].map(([, at, access, name]) => `${at}:${name}:${access}`);
  const expected = Object.entries(spec.buffers).map(([name, access], at) => `${at}:${name}:${DECLARED[access]}`);
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(wgsl)?.[1] ?? "";
  const fields = [...body.matchAll(/(\w+)\s*:\s*(\w+)/g)].map(([, name, type]) => `${name}: ${type}`);
  const params = Object.entries(spec.params).map(([name, type]) => `${name}: ${type}`);
  const overrides = [...wgsl.matchAll(/override\s+(\w+)/g)].map(([, name]) => name!);
  compare(spec.name, "buffers", declared, expected);
  compare(spec.name, "params", fields, params);
  compare(spec.name, "overrides", overrides, spec.overrides ?? []);
}

function compare(kernel: string, what: string, shader: readonly string[], code: readonly string[]): void {
  if (shader.join() === code.join()) return;
  throw new GpuError(
    `kernel "${kernel}": ${what} differ.\n  shaders/${kernel}.wgsl: ${shader.join(", ") || "none"}\n  kernels: ${code.join(", ") || "none"}`,
  );
}
