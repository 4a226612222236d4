// Shaders with matrices of subgroups on adapters that have none: every thread holds and multiplies whole matrices by itself.
import { openDevice } from "../src/gpu/device.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { loadShaders } from "../src/gpu/kernel.ts";
import { findAdapter, patientWait } from "../src/node/adapter.ts";

const ENABLE = "enable chromium_experimental_subgroup_matrix;";
const BUILTINS = /,\s*@builtin\(subgroup_id\) subgroup: u32, @builtin\(subgroup_invocation_id\) lane: u32\) \{/;

/** Elements of a matrix, in a form that no compiler knows beforehand: unrolled loops take it half a minute. */
const size = (code: string): string => `
fn size() -> u32 { return min(256u, 256u + params.${/struct Params \{\s*(\w+)/.exec(code)?.[1]}); }
`;

const MULTIPLY = `
fn multiply_matrices(a: array<f32, 256>, b: array<f32, 256>, c: array<f32, 256>) -> array<f32, 256> {
  var left = a;
  var right = b;
  var sums = c;
  for (var i = 0u; i < size(); i++) {
    var sum = sums[i];
    for (var k = 0u; k < 16; k++) { sum += left[i / 16 * 16 + k] * right[k * 16 + i % 16]; }
    sums[i] = sum;
  }
  return sums;
}
`;

/** Reads and writes matrices of the workgroup array \`name\`, whose elements are \`vec4u\` of halfs or \`vec4f\`. */
const accessors = (name: string, element: string): string => `
fn load_rows_${name}(offset: u32, pitch: u32) -> array<f32, 256> {
  var m: array<f32, 256>;
  for (var i = 0u; i < size(); i++) {
    let v = bitcast<vec4u>(${name}[offset + i / 16 * pitch + i % 16 / 8]);
    m[i] = unpack2x16float(v[i % 8 / 2])[i % 2];
  }
  return m;
}
fn load_columns_${name}(offset: u32, pitch: u32) -> array<f32, 256> {
  var rows = load_rows_${name}(offset, pitch);
  var m: array<f32, 256>;
  for (var i = 0u; i < size(); i++) { m[i] = rows[i % 16 * 16 + i / 16]; }
  return m;
}
fn store_${name}(offset: u32, matrix: array<f32, 256>, pitch: u32) {
  var m = matrix;
  for (var i = 0u; i < size(); i += 4) {
    ${name}[offset + i / 16 * pitch + i % 16 / 4] = bitcast<${element}>(vec4f(m[i], m[i + 1], m[i + 2], m[i + 3]));
  }
}
`;

/** The shader without matrices of subgroups; subgroups are 32 threads one after another. */
export function withoutMatrices(code: string): string {
  if (!code.includes(ENABLE)) return code;
  const arrays = [...code.matchAll(/var<workgroup> (\w+): array<(vec4u|vec4f),/g)];
  return [
    code
      .replace(ENABLE, "")
      .replace(/subgroup_matrix_\w+<f\d+, 16, 16>/g, "array<f32, 256>")
      .replace(/Sums\(0\.0\)/g, "Sums()")
      .replace(/subgroupMatrixLoad<\w+, row_major>\(&(\w+), /g, "load_rows_$1(")
      .replace(/subgroupMatrixLoad<\w+, col_major>\(&(\w+), /g, "load_columns_$1(")
      .replace(/subgroupMatrixStore<row_major>\(&(\w+), /g, "store_$1(")
      .replace(/subgroupMatrixMultiplyAccumulate/g, "multiply_matrices")
      .replace(BUILTINS, ") {\n  let subgroup = thread / 32;\n  let lane = thread % 32;"),
    size(code),
    MULTIPLY,
    ...arrays.map(([, name, element]) => accessors(name!, element!)),
  ].join("");
}

/** What fits into the workgroup memory of every adapter. */
const CHOICES = Object.fromEntries(
  [
    "linear f32 f16",
    "linear f16 f16",
    "linear_quantized f32 int4",
    "linear_quantized f16 int4",
    "linear_quantized f32 int8",
  ].flatMap((kernel) => [16, 32, 64].map((rows) => [`${kernel} rows ${rows}`, "matrix"])),
);

/** This machine's adapter as a GPU with tensor cores; undefined where it lacks half precision, or neighbours to shuffle with. */
export async function openWithMatrices(): Promise<Gpu | undefined> {
  const { adapter } = await findAdapter();
  const [open] = await Promise.all([openDevice(adapter, patientWait), loadShaders()]);
  if (!open.adapter.f16 || !open.adapter.subgroups) return undefined;
  const { device } = open;
  const create = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => create({ ...descriptor, code: withoutMatrices(descriptor.code) });
  const summary = {
    ...open.adapter,
    software: false,
    description: "GPU with matrices under test",
    workgroupBytes: 49152,
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    subgroupMatrices: [{ component: "f16", result: "f32", M: 16, N: 16, K: 16 }],
  };
  const gpu = new Gpu({ ...open, adapter: summary });
  gpu.choices.prefer(CHOICES);
  gpu.poison = true;
  return gpu;
}
