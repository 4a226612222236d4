import { AdapterError } from "../errors.ts";
import { requestAdapter } from "../gpu/device.ts";
import { Gpu } from "../gpu/gpu.ts";

/**
 * Opens the engine on the browser's best GPU adapter, in a page or in a worker.
 *
 * @param options.profile  times every kernel run when the adapter has timestamps
 * @throws AdapterError when the browser has no WebGPU or finds no adapter
 */
export async function openWebGpu({ profile }: { profile: boolean }): Promise<Gpu> {
  // Typed as always there, but absent in older browsers and in pages that are not secure.
  const api = navigator.gpu as GPU | undefined;
  if (!api) throw new AdapterError("this page has no WebGPU: navigator.gpu is missing", { hint: missingHint() });
  const adapter = await requestAdapter(api);
  if (!adapter) {
    throw new AdapterError("no GPU adapter found: the browser has WebGPU, and no GPU that it may use", {
      hint: "Turn on graphics acceleration in the browser's settings and update the graphics driver; chrome://gpu says what is missing. On Linux, Chrome may need chrome://flags/#enable-unsafe-webgpu.",
    });
  }
  return Gpu.open(adapter, { profile });
}

function missingHint(): string {
  if (globalThis.isSecureContext === false)
    return "Open the page over https, or from localhost: WebGPU needs a secure page.";
  return "Use a current Chrome, Edge, Safari or Firefox. On Linux, Chrome may need chrome://flags/#enable-unsafe-webgpu.";
}
