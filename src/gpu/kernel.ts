import { GpuError, ShapeError } from "../errors.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";
import type { Gpu } from "./gpu.ts";
import type { Variant } from "./stream.ts";
import { checkHeader, Packer, prelude, withParams } from "./wgsl.ts";

/**
 * How a kernel uses a buffer: `write` overwrites every element, `update` changes in place, `read?` may be absent, and `uniform` is
 * read through a uniform binding, of at most `MAX_UNIFORM_BYTES`: CPU adapters read those at a third of the cost.
 */
export type Access = "read" | "read?" | "uniform" | "write" | "update";
/** What every adapter can bind as a uniform buffer. */
export const MAX_UNIFORM_BYTES = 65536;
export type ParamType = "u32" | "f32" | "i32";
export type Feature = "f16" | "subgroups" | "chromium_experimental_subgroup_matrix";

export interface KernelSpec<B extends string, P extends string, O extends string, C extends string> {
  /** Stem of the .wgsl file; appears in errors, GPU labels and profiles. */
  readonly name: string;
  /** `new URL("../shaders/<name>.wgsl", import.meta.url)`, or the text itself in the published package. */
  readonly source: URL | string;
  /** Storage buffers in binding order, group 0. */
  readonly buffers: Readonly<Record<B, Access>>;
  /** Fields of `struct Params` in order, group 1 in the shader. Change per call. */
  readonly params: Readonly<Record<P, ParamType>>;
  /** Names of `override` constants. Fixed per pipeline. */
  readonly overrides?: readonly O[];
  /** Names of u32 constants generated in front of the shader, for what `override` cannot size: private arrays. */
  readonly constants?: readonly C[];
  /** WGSL extensions the shader needs; f16 only where it computes with it although no buffer may hold it. */
  readonly features?: readonly Feature[];
}

export interface Launch<O extends string, C extends string> {
  /** Workgroups per axis, or a single count: past the per-axis limit that is folded into x and y (see shaders/README.md). */
  readonly workgroups: number | readonly [number, number?, number?];
  readonly overrides?: Readonly<Partial<Record<O, number | boolean>>>;
  readonly constants?: Readonly<Record<C, number>>;
}

type Tensors<Buffers extends Readonly<Record<string, Access>>> = {
  readonly [Name in keyof Buffers]: Buffers[Name] extends "read?" ? Tensor | undefined : Tensor;
};

export type AnyKernelSpec = KernelSpec<string, string, string, string>;

const registry: { spec: AnyKernelSpec; text: string | null }[] = [];

/** Fetches the text of every shader defined so far. `Gpu.open` calls it; kernels defined later need another call. */
export async function loadShaders(): Promise<void> {
  await Promise.all(
    registry.map(async (entry) => {
      if (entry.text !== null) return;
      const text = typeof entry.spec.source === "string" ? entry.spec.source : await readText(entry.spec.source);
      checkHeader(entry.spec, text);
      entry.text = text;
    }),
  );
}

/** Changes with every shader: what was measured before is of no use then. FNV-1a of their texts, in whatever order they came. */
export function shadersDigest(): string {
  let hash = 0x811c9dc5;
  for (const { spec, text } of registry.toSorted((a, b) => (a.spec.name < b.spec.name ? -1 : 1))) {
    for (const char of `${spec.name}\n${text ?? ""}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** Shader files lie beside the modules: fetched in browsers, read from disk in Node, whose fetch has no file: URLs. */
async function readText(url: URL): Promise<string> {
  if (url.protocol === "file:") return process.getBuiltinModule("node:fs").readFileSync(url, "utf8");
  const response = await fetch(url);
  if (!response.ok) throw new GpuError(`${url.href}: expected a shader, got HTTP ${response.status}`);
  return await response.text();
}

/**
 * Pairs a hand-written shader with its typed signature.
 *
 * The shader repeats the signature in WGSL, so that each file reads alone; a mismatch throws when the shader is loaded.
 */
export function defineKernel<
  const Buffers extends Readonly<Record<string, Access>>,
  P extends string = never,
  O extends string = never,
  C extends string = never,
>(spec: KernelSpec<Extract<keyof Buffers, string>, P, O, C> & { readonly buffers: Buffers }) {
  const names = Object.keys(spec.buffers);
  const packer = new Packer(spec.params);
  const entry: { spec: AnyKernelSpec; text: string | null } = { spec, text: null };
  registry.push(entry);
  return {
    spec,
    /** Checks nothing but presence: shapes are the dispatcher's business. Appends one dispatch to the open pass. */
    run(
      tensors: Tensors<Buffers>,
      params: Readonly<Record<NoInfer<P>, number>>,
      launch: Launch<NoInfer<O>, NoInfer<C>>,
    ): void {
      const list = new Array<Tensor | undefined>(names.length);
      let owner: Gpu | undefined;
      for (let i = 0; i < names.length; i++) {
        const name = names[i]!;
        const tensor = (tensors as Readonly<Record<string, Tensor | undefined>>)[name];
        list[i] = tensor;
        if (!tensor) continue;
        owner = tensor.gpu;
        if (tensor.bytes > owner.maxBindingBytes) throw tooLarge(`${spec.name}: ${name}`, tensor);
      }
      const gpu = owner!;
      const variant = recall(gpu, entry, list, launch) ?? variantFor(gpu, entry, list, launch);
      gpu.encode(variant, list, packer, params, fold(launch.workgroups, gpu.maxWorkgroups));
    },
  };
}

const tooLarge = (what: string, { bytes, gpu }: Tensor): ShapeError =>
  new ShapeError(`${what}: expected at most ${gpu.maxBindingBytes} bytes, got ${bytes}`);

/** A single count past the limit of one axis becomes x·y ≥ count, as square as it gets; shaders drop the excess. */
function fold(workgroups: Launch<string, string>["workgroups"], limit: number): readonly [number, number, number] {
  if (typeof workgroups !== "number") {
    const [x, y = 1, z = 1] = workgroups;
    return [x, y, z];
  }
  if (workgroups <= limit) return [workgroups, 1, 1];
  const y = Math.ceil(workgroups / limit);
  return [Math.ceil(workgroups / y), y, 1];
}

/** A variant whose pipeline exists, and what asks for it. */
export interface Compiled {
  readonly variant: Variant;
  readonly dtypes: readonly DType[];
  readonly launch: Launch<string, string>;
}

interface Entry {
  readonly spec: AnyKernelSpec;
  readonly text: string | null;
}

const dtypeOf = (tensor: Tensor | undefined): DType => tensor?.dtype ?? "f32";

/** The variant of a kernel that has run before. Kernels have few, so comparing is faster than making and hashing a name. */
function recall(
  gpu: Gpu,
  entry: Entry,
  tensors: readonly (Tensor | undefined)[],
  launch: Launch<string, string>,
): Variant | undefined {
  const known = gpu.compiled.get(entry);
  if (!known) return undefined;
  // Most launches of a decode step are the very objects of the step before.
  for (const { variant, dtypes, launch: before } of known) {
    const isSame = before.overrides === launch.overrides && before.constants === launch.constants;
    if (isSame && haveTypes(tensors, dtypes)) return variant;
  }
  const { overrides = NO_NAMES, constants = NO_NAMES } = entry.spec;
  for (const { variant, dtypes, launch: before } of known) {
    if (
      haveTypes(tensors, dtypes) &&
      agree(overrides, launch.overrides, before.overrides) &&
      agree(constants, launch.constants, before.constants)
    )
      return variant;
  }
  return undefined;
}

function haveTypes(tensors: readonly (Tensor | undefined)[], dtypes: readonly DType[]): boolean {
  for (let i = 0; i < tensors.length; i++) if (dtypeOf(tensors[i]) !== dtypes[i]) return false;
  return true;
}

type Values = Readonly<Partial<Record<string, number | boolean>>>;

function agree(names: readonly string[], a: Values = NO_VALUES, b: Values = NO_VALUES): boolean {
  if (a === b) return true;
  for (let i = 0; i < names.length; i++) if (a[names[i]!] !== b[names[i]!]) return false;
  return true;
}

const NO_VALUES: Values = {};
const NO_NAMES: readonly string[] = [];

function variantFor(
  gpu: Gpu,
  entry: Entry,
  tensors: readonly (Tensor | undefined)[],
  launch: Launch<string, string>,
): Variant {
  const { spec, text } = entry;
  const dtypes = tensors.map(dtypeOf);
  let key = `${spec.name}<${dtypes.join()}>`;
  for (const name in launch.overrides) key += ` ${name}=${Number(launch.overrides[name] ?? 0)}`;
  for (const name in launch.constants) key += ` ${name}=${launch.constants[name]}`;
  const known = gpu.variants.get(key);
  if (known?.pipeline) {
    const others = gpu.compiled.get(entry) ?? [];
    gpu.compiled.set(entry, [...others, { variant: known, dtypes, launch }]);
    return known;
  }
  if (known && gpu.isDry) return known;
  if (!gpu.device) return DRY_VARIANT;
  if (text === null) throw new GpuError(`kernel ${spec.name}: its shader is not loaded; call loadShaders() first`);
  const variant = known ?? { label: key, layout: layoutFor(gpu, spec), pipeline: null };
  gpu.variants.set(key, variant);
  const code = prelude(spec, dtypes, launch.constants ?? {}) + withParams(text, dtypes.length);
  compile(gpu, variant, spec, code, launch.overrides ?? {});
  return variant;
}

/** Stands for every kernel where there is no device. */
const DRY_VARIANT: Variant = { label: "dry", layout: {} as GPUBindGroupLayout, pipeline: null };

function compile(
  gpu: Gpu,
  variant: Variant,
  spec: AnyKernelSpec,
  code: string,
  overrides: Readonly<Record<string, number | boolean | undefined>>,
): void {
  const { device } = gpu;
  if (!device) return;
  const constants: Record<string, number> = {};
  for (const [name, value] of Object.entries(overrides)) if (value !== undefined) constants[name] = Number(value);
  const layout = device.createPipelineLayout({ bindGroupLayouts: [variant.layout] });
  const describe = (): GPUComputePipelineDescriptor & { compute: { module: GPUShaderModule } } => {
    const module = device.createShaderModule({ label: spec.name, code });
    return { label: variant.label, layout, compute: { module, entryPoint: "main", constants } };
  };
  const isDeferred = gpu.defer(async () => {
    // A shader that this adapter does not take fails this pipeline, and not whatever runs meanwhile.
    device.pushErrorScope("validation");
    const descriptor = describe();
    device.popErrorScope().catch(() => undefined);
    try {
      variant.pipeline = await device.createComputePipelineAsync(descriptor);
    } catch (cause) {
      gpu.variants.delete(variant.label);
      const reason = await explain(descriptor.compute.module, spec.name);
      throw new GpuError(reason ?? `kernel ${variant.label}: ${String(cause)}`, { cause });
    }
  });
  if (!isDeferred) variant.pipeline = device.createComputePipeline(describe());
}

function layoutFor(gpu: Gpu, spec: AnyKernelSpec): GPUBindGroupLayout {
  const access = Object.values(spec.buffers).map(
    (a): GPUBufferBindingType => (a === "uniform" ? a : a.startsWith("read") ? "read-only-storage" : "storage"),
  );
  const key = access.join();
  const known = gpu.layouts.get(key);
  if (known) return known;
  const buffers: GPUBufferBindingLayout[] = access.map((type) => ({ type }));
  buffers.push({ type: "uniform" }); // the parameters
  const entries = buffers.map((buffer, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer }));
  const layout = gpu.device!.createBindGroupLayout({ label: key, entries });
  gpu.layouts.set(key, layout);
  return layout;
}

/** The compiler's message at the position it has in the .wgsl file (the prelude adds one line). */
async function explain(module: GPUShaderModule, name: string): Promise<string | undefined> {
  const { messages } = await module.getCompilationInfo();
  const error = messages.find((message) => message.type === "error");
  if (!error) return undefined;
  return `shaders/${name}.wgsl:${error.lineNum - 1}:${error.linePos}: ${error.message.split("\n")[0]}`;
}
