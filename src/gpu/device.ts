import { AdapterError } from "../errors.ts";
import type { Wait } from "./readback.ts";

/** A shape in which the adapter multiplies matrices held by a whole subgroup: [M, K] · [K, N], added to [M, N]. */
export interface SubgroupMatrix {
  /** Element type of the factors, `"f16"` or another of WGSL's or Dawn's names. */
  readonly component: string;
  /** Element type of the sums. */
  readonly result: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What an adapter is and can do, as reported to users. */
export interface AdapterSummary {
  readonly vendor: string;
  readonly architecture: string;
  /** What the vendor calls the device; often empty, or a number. */
  readonly device: string;
  readonly description: string;
  /** True when the "GPU" is the CPU (llvmpipe, SwiftShader). */
  readonly software: boolean;
  /** Half-precision storage and arithmetic in shaders. */
  readonly f16: boolean;
  /** Subgroup operations in shaders, and the sizes a subgroup may have. */
  readonly subgroups: boolean;
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** Products of small matrices by whole subgroups; empty without `chromium-experimental-subgroup-matrix`. */
  readonly subgroupMatrices: readonly SubgroupMatrix[];
  /** Products of four pairs of bytes in one operation of WGSL. Whether the hardware has such an operation, only a clock tells. */
  readonly packedDot: boolean;
  /** Memory that the threads of a workgroup share. */
  readonly workgroupBytes: number;
  readonly timestamps: boolean;
}

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly adapter: AdapterSummary;
  readonly wait: Wait;
}

/** Stands in for an adapter when only shapes and bytes matter. */
export const DRY_ADAPTER: AdapterSummary = {
  vendor: "",
  architecture: "",
  device: "",
  description: "no device",
  software: true,
  f16: true,
  subgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  subgroupMatrices: [],
  packedDot: false,
  workgroupBytes: 16384,
  timestamps: false,
};

/** Not yet in the standard, nor in its types. */
const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix" as GPUFeatureName;
const FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query", SUBGROUP_MATRIX];

interface SubgroupMatrixInfo {
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

/** Limits worth raising to what the adapter has; the rest stay at their defaults. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** What WGSL can do belongs to the implementation, which adapters do not name: kept here by adapter. */
const languages = new WeakMap<GPUAdapter, ReadonlySet<string>>();
const PACKED_DOT = "packed_4x8_integer_dot_product";

/** The fastest adapter of a WebGPU implementation, for `summarize` and `openDevice`; null when it has none. */
export async function requestAdapter(api: GPU): Promise<GPUAdapter | null> {
  const adapter = await api.requestAdapter({ powerPreference: "high-performance" });
  // Typed as always there, but absent in older browsers.
  const language = api.wgslLanguageFeatures as ReadonlySet<string> | undefined;
  if (adapter && language) languages.set(adapter, language);
  return adapter;
}

/** Of an adapter that `requestAdapter` gave; of another, features of the language count as missing. */
export function summarize(adapter: GPUAdapter): AdapterSummary {
  const {
    vendor,
    architecture,
    device,
    description,
    subgroupMinSize = 0,
    subgroupMaxSize = 0,
    isFallbackAdapter,
  } = adapter.info;
  const named = /llvmpipe|swiftshader|lavapipe|software|basic render/i.test(`${vendor} ${architecture} ${description}`);
  return {
    vendor,
    architecture,
    device,
    description,
    software: named || isFallbackAdapter === true,
    f16: adapter.features.has("shader-f16"),
    subgroups: adapter.features.has("subgroups"),
    subgroupMinSize,
    subgroupMaxSize,
    subgroupMatrices: subgroupMatrices(adapter),
    packedDot: languages.get(adapter)?.has(PACKED_DOT) ?? false,
    workgroupBytes: adapter.limits.maxComputeWorkgroupStorageSize,
    timestamps: adapter.features.has("timestamp-query"),
  };
}

/** What people call it: the card, where its name is told, and the driver. */
export function nameOf({ vendor, architecture, device, description, software }: AdapterSummary): string {
  const driver = description || `${vendor} ${architecture}`.trim();
  const isCard = !software && /[a-z]{3}/i.test(device) && !/^0x/i.test(device);
  return isCard ? `${device} (${driver})` : driver;
}

function subgroupMatrices({ features, info }: GPUAdapter): SubgroupMatrix[] {
  const { subgroupMatrixConfigs = [] } = info as SubgroupMatrixInfo;
  if (!features.has(SUBGROUP_MATRIX)) return [];
  return Array.from(subgroupMatrixConfigs, ({ componentType, resultComponentType, M, N, K }) => ({
    component: componentType,
    result: resultComponentType,
    M,
    N,
    K,
  }));
}

/** Requests a device with every feature and limit the engine can use. */
export async function openDevice(adapter: GPUAdapter, wait: Wait = (promise) => promise): Promise<OpenDevice> {
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature));
  try {
    const device = await adapter.requestDevice({ label: "fastvlm", requiredLimits, requiredFeatures });
    return { device, adapter: summarize(adapter), wait };
  } catch (cause) {
    throw new AdapterError(`the adapter "${adapter.info.description}" gave no device: ${String(cause)}`, {
      cause,
      hint: "Close other programs that use the GPU, or update its driver.",
    });
  }
}
