import type { Gpu } from "./gpu.ts";
import type { CommandStream } from "./stream.ts";

/**
 * Milliseconds that the GPU takes for what `body` encodes, in one submit: by its timestamps where it has them, else by the clock,
 * submit and wait included.
 */
export async function timed(gpu: Gpu, stream: CommandStream | null, body: () => void): Promise<number> {
  await gpu.settled();
  if (!stream || !gpu.device) return 0;
  const watch = gpu.adapter.timestamps && !gpu.profiler ? new Stopwatch(gpu.device) : null;
  stream.stopwatch = watch;
  stream.isTimed = true;
  try {
    body();
    const started = performance.now();
    await gpu.settled();
    const elapsed = performance.now() - started;
    return (await watch?.read()) || elapsed;
  } finally {
    stream.stopwatch = null;
    stream.isTimed = false;
    watch?.destroy();
  }
}

/** Times one compute pass by two timestamps of the GPU. */
export class Stopwatch {
  readonly pass: GPUComputePassDescriptor;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;

  constructor(device: GPUDevice) {
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    this.#queries = device.createQuerySet({ type: "timestamp", count: 2 });
    this.#resolved = device.createBuffer({ size: 16, usage: QUERY_RESOLVE | COPY_SRC });
    this.#staging = device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST });
    const querySet = this.#queries;
    this.pass = { timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } };
  }

  /** Call after the pass, before the submit. */
  resolve(encoder: GPUCommandEncoder): void {
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 16);
  }

  /** Milliseconds between the timestamps. Call after the submit. */
  async read(): Promise<number> {
    await this.#staging.mapAsync(GPUMapMode.READ);
    const [begin = 0n, end = 0n] = new BigInt64Array(this.#staging.getMappedRange());
    this.#staging.unmap();
    return Number(end - begin) / 1e6;
  }

  destroy(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
    this.#staging.destroy();
  }
}
