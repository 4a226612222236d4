// How fast a GPU gets at its memory. Its shaders are outside the engine's register of kernels, whose digest names what was tuned.
import type { Gpu } from "../../src/gpu/gpu.ts";

const THREADS = 256;

/** Both take vec4 by vec4, neighbouring threads neighbouring ones, until the buffer is done. */
const SHADERS = {
  copy: "for (var i = first; i < arrayLength(&x); i += stride) { y[i] = x[i]; }",
  // The sum is stored so that the loads are not dropped.
  read: `var sum = vec4f();
  for (var i = first; i < arrayLength(&x); i += stride) { sum += x[i]; }
  y[first] = sum;`,
};

const shader = (body: string): string => `
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = thread.x;
  let stride = groups.x * ${THREADS};
  ${body}
}`;

/**
 * Bytes per second, read and written, of the fastest of a copy by the device, a copy by a shader, and a read by a shader.
 *
 * @param seconds measures one run of what it is given
 */
export async function memoryRate(gpu: Gpu, seconds: (encode: () => void) => Promise<number>): Promise<number> {
  const { software } = gpu.adapter;
  const bytes = Math.min(gpu.maxBindingBytes, software ? 2 ** 26 : 2 ** 29);
  const [from, to] = [gpu.empty([bytes / 4], "f32"), gpu.empty([bytes / 4], "f32")];
  try {
    const rates = [(2 * bytes) / (await seconds(() => gpu.copy(from, to)))];
    const buffers = [from, to].map(({ block }) => block.buffer!);
    for (const [name, body] of Object.entries(SHADERS)) {
      const run = launcher(gpu.device!, shader(body), buffers, software ? 64 : 4096);
      rates.push(((name === "copy" ? 2 : 1) * bytes) / (await seconds(run)));
    }
    return Math.max(...rates);
  } finally {
    for (const tensor of [from, to]) gpu.release(tensor);
    gpu.trim();
  }
}

/** A function that submits one run. */
function launcher(device: GPUDevice, code: string, buffers: readonly GPUBuffer[], workgroups: number): () => void {
  const compute = { module: device.createShaderModule({ code }) };
  const pipeline = device.createComputePipeline({ layout: "auto", compute });
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  return () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(workgroups);
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
}
