import { readFileSync } from "node:fs";
import { AdapterError } from "../errors.ts";
import { requestAdapter, summarize } from "../gpu/device.ts";
import { Gpu } from "../gpu/gpu.ts";
import type { Wait } from "../gpu/readback.ts";
import { findSwiftShader, SWIFTSHADER_PACKAGE } from "./swiftshader.ts";
import { widenVectors } from "./vector_width.ts";
import { hasVulkanLoader, loadLibrary } from "./vulkan.ts";

type Dawn = typeof import("webgpu");

/** An adapter and how it was found. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  /** Where the driver came from, in words. */
  readonly how: string;
}

/** Dawn crashes when an instance is collected before its devices, so none ever is. They let the process end by itself. */
const instances: { readonly api: GPU; readonly how: string }[] = [];

/**
 * Finds a GPU adapter: the system's own, else SwiftShader (a CPU adapter) where its npm package is installed on x64 Linux.
 *
 * @throws AdapterError when there is none, or the `webgpu` package does not run here
 */
export async function findAdapter(): Promise<FoundAdapter> {
  const dawn = await importDawn();
  Object.assign(globalThis, dawn.globals);
  for (const { api, how } of instances) {
    const adapter = await requestAdapter(api);
    if (adapter) return { adapter, how };
  }
  widenVectors();
  const found = (await systemAdapter(dawn)) ?? (await swiftShaderAdapter(dawn));
  if (!found) {
    const portable = process.platform === "linux" && process.arch === "x64";
    const rootless = portable ? ` Or, slow but without root: npm install ${SWIFTSHADER_PACKAGE}.` : "";
    throw new AdapterError("no GPU adapter found", { hint: installHint() + rootless });
  }
  return found;
}

/** Opens the engine on the best adapter of this machine. */
export async function openNodeGpu({ profile = false }: { profile?: boolean } = {}): Promise<Gpu> {
  const { adapter } = await findAdapter();
  return Gpu.open(adapter, { wait: summarize(adapter).software ? patientWait : alertWait, profile });
}

/** What to install for an adapter, or for a better one: one sentence. */
export function installHint(): string {
  if (process.platform !== "linux") return "Update the graphics driver.";
  let release = "";
  try {
    release = readFileSync("/etc/os-release", "utf8");
  } catch {
    // A distribution without the file gets the general advice.
  }
  const driver = "Install the GPU vendor's Vulkan driver, or Mesa's, which also has one for the CPU:";
  if (/^VERSION_CODENAME=bookworm$/m.test(release)) {
    return `${driver} apt-get install libvulkan1 && apt-get install -t bookworm-backports mesa-vulkan-drivers (Debian 12's own is too old).`;
  }
  if (/^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release))
    return `${driver} apt-get install libvulkan1 mesa-vulkan-drivers.`;
  return `${driver} packages vulkan-loader and mesa-vulkan-drivers, or what they are called here.`;
}

async function importDawn(): Promise<Dawn> {
  try {
    return await import("webgpu");
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0];
    throw new AdapterError(`the webgpu package does not run here: ${reason}`, {
      cause,
      hint: "npm install webgpu; it runs on macOS, Windows, and Linux with glibc 2.34 or later (Debian 12, Ubuntu 22.04).",
    });
  }
}

async function systemAdapter(dawn: Dawn): Promise<FoundAdapter | null> {
  if (process.platform === "linux" && !hasVulkanLoader()) return null; // Dawn would print a warning
  return openInstance(dawn, "system driver");
}

async function swiftShaderAdapter(dawn: Dawn): Promise<FoundAdapter | null> {
  const swiftShader = await findSwiftShader().catch((cause: unknown) => {
    throw new AdapterError(`no GPU adapter found, and SwiftShader could not be unpacked: ${String(cause)}`, {
      cause,
      hint: installHint(),
    });
  });
  if (!swiftShader) return null;
  const systemLoader = hasVulkanLoader();
  if (!systemLoader && !loadLibrary(swiftShader.loader)) return null;
  // The loader reads the variables when Dawn first asks it for adapters; child processes must not inherit them.
  const { VK_DRIVER_FILES, VK_ICD_FILENAMES } = process.env;
  const before = { VK_DRIVER_FILES, VK_ICD_FILENAMES };
  process.env.VK_DRIVER_FILES = process.env.VK_ICD_FILENAMES = swiftShader.manifest;
  try {
    return await openInstance(dawn, `SwiftShader from npm, ${systemLoader ? "system" : "npm"} Vulkan loader`);
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

/**
 * What Dawn hides unless it is asked for: half precision on NVIDIA's GPUs (crbug.com/tint/2164), and features that are not yet in
 * the standard, of which the engine takes matrices of subgroups. Pages must be kept from reading past their buffers, by a check at
 * every access; the shaders here are the program's own, stay within by themselves, and are up to 1.8 times as fast unchecked.
 */
const DAWN_FEATURES = ["vulkan_enable_f16_on_nvidia", "allow_unsafe_apis", "disable_robustness"];
/** What protects visitors of a page from each other; here it would round the times of kernels to 65 µs. */
const BROWSER_FEATURES = ["timestamp_quantization"];

async function openInstance(dawn: Dawn, how: string): Promise<FoundAdapter | null> {
  const flags = [`enable-dawn-features=${DAWN_FEATURES.join()}`, `disable-dawn-features=${BROWSER_FEATURES.join()}`];
  const api = dawn.create(flags);
  const adapter = await requestAdapter(api);
  if (!adapter) return null;
  instances.push({ api, how });
  return { adapter, how };
}

/** Milliseconds: how long a wait spins, and how long it naps between looks then and later. */
interface Patience {
  readonly spin: number;
  readonly nap: number;
  /** Waits longer than this sleep instead. */
  readonly short: number;
  readonly sleep: number;
  /** Whether it is as at the beginning again whenever a wait begins or ends. Default: it is that of the oldest wait */
  readonly renewed?: boolean;
}

/**
 * Waits for the GPU without burning a core. Node's WebGPU completes promises from a busy loop of immediates; on a CPU
 * adapter that loop takes time from the very work it waits for. Short waits spin, longer ones sleep between looks; waits
 * that overlap sleep together, as long as the oldest of them may.
 */
export const patientWait: Wait = waiter({ spin: 0.2, nap: 0.05, short: 5, sleep: 0.5 });

/**
 * The same for a GPU of its own: a step takes it a millisecond or two, of which a nap would be a good part. Where several steps are
 * under way, each is waited for since the one before it was done.
 */
const alertWait: Wait = waiter({ spin: 3, nap: 0.05, short: 100, sleep: 0.2, renewed: true });

function waiter({ spin, nap, short, sleep, renewed = false }: Patience): Wait {
  /** Oldest first. */
  const waits = new Set<{ readonly since: number }>();
  /** When a wait began or ended last. */
  let latest = 0;
  let looking = false;
  const look = async (): Promise<void> => {
    looking = true;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const [oldest] = waits;
      if (!oldest) break;
      const waited = performance.now() - (renewed ? latest : oldest.since);
      if (waited > spin) Atomics.wait(SLEEPER, 0, 0, waited > short ? sleep : nap);
    }
    looking = false;
  };
  return async (promise) => {
    const wait = { since: performance.now() };
    waits.add(wait);
    latest = wait.since;
    if (!looking) void look();
    try {
      return await promise;
    } finally {
      waits.delete(wait);
      latest = performance.now();
    }
  };
}

const SLEEPER = new Int32Array(new SharedArrayBuffer(4));
