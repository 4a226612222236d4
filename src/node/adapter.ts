import { readFileSync } from "node:fs";
import { AdapterError } from "../errors.ts";
import { Gpu } from "../gpu/gpu.ts";
import { findSwiftShader, SWIFTSHADER_PACKAGE } from "./swiftshader.ts";
import { hasVulkanLoader, loadLibrary } from "./vulkan.ts";

type Dawn = typeof import("webgpu");

interface Instance {
  readonly api: GPU;
  readonly how: string;
}

/** Dawn crashes when an instance is collected before its devices, so none ever is. They do not keep the process running. */
const instances: Instance[] = [];

/** An adapter and how it was found. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  /** Where the driver came from, in words. */
  readonly how: string;
}

/**
 * Finds a GPU adapter: the system's own, else SwiftShader (a CPU adapter) when its npm package is installed on x64 Linux.
 *
 * @param options.software wants an adapter on the CPU even where there is a GPU. Default false
 * @throws AdapterError when there is none, or the `webgpu` package does not run here
 */
export async function findAdapter(options: { software?: boolean } = {}): Promise<FoundAdapter> {
  const dawn = await importDawn();
  const request: GPURequestAdapterOptions = options.software
    ? { forceFallbackAdapter: true }
    : { powerPreference: "high-performance" };
  const ways = [...instances.map((instance) => async () => instance), openSystem, openSwiftShader];
  for (const way of ways) {
    const instance = await way(dawn);
    const adapter = await instance?.api.requestAdapter(request);
    if (instance && adapter) {
      if (!instances.includes(instance)) instances.push(instance);
      return { adapter, how: instance.how };
    }
  }
  throw new AdapterError("no GPU adapter found", { hint: `${installHint()}; fastvlm doctor tells more` });
}
