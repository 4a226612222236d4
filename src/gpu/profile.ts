/** Dispatches timed per submit; two timestamps each, within the 4096 queries a set may hold. */
const CAPACITY = 2048;

export interface KernelTime {
  readonly kernel: string;
  readonly runs: number;
  /** Milliseconds, all runs together. */
  readonly ms: number;
}

/**
 * GPU time per kernel by timestamp queries. Every dispatch gets a pass of its own, which costs some microseconds, so this is
 * for finding where time goes and not for headline numbers.
 */
export class Profiler {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #labels: string[] = [];
  readonly #pending: Promise<void>[] = [];
  readonly #times = new Map<string, { runs: number; ns: number }>();
  #staging: GPUBuffer | null = null;

  constructor(device: GPUDevice) {
    this.#device = device;
    const { QUERY_RESOLVE, COPY_SRC } = GPUBufferUsage;
    this.#queries = device.createQuerySet({ type: "timestamp", count: CAPACITY * 2 });
    this.#resolved = device.createBuffer({ size: CAPACITY * 16, usage: QUERY_RESOLVE | COPY_SRC });
  }

  get isFull(): boolean {
    return this.#labels.length === CAPACITY;
  }

  /** The descriptor of a pass that runs the kernel `label` and nothing else. */
  pass(label: string): GPUComputePassDescriptor {
    const begin = this.#labels.push(label) * 2 - 2;
    return {
      timestampWrites: { querySet: this.#queries, beginningOfPassWriteIndex: begin, endOfPassWriteIndex: begin + 1 },
    };
  }

  resolve(encoder: GPUCommandEncoder): void {
    const count = this.#labels.length * 2;
    if (count === 0) return;
    const { MAP_READ, COPY_DST } = GPUBufferUsage;
    this.#staging = this.#device.createBuffer({ size: count * 8, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(this.#queries, 0, count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, count * 8);
  }

  /** Call after the submit that contains `resolve`. */
  collect(): void {
    const staging = this.#staging;
    if (!staging) return;
    this.#staging = null;
    this.#pending.push(this.#add(staging, this.#labels.splice(0)));
  }

  /** Forgets the runs that are not submitted. */
  discard(): void {
    this.#labels.length = 0;
  }

  async #add(staging: GPUBuffer, labels: readonly string[]): Promise<void> {
    await staging.mapAsync(GPUMapMode.READ);
    const stamps = new BigInt64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    labels.forEach((label, i) => {
      const time = this.#times.get(label) ?? { runs: 0, ns: 0 };
      time.runs++;
      time.ns += Number(stamps[2 * i + 1]! - stamps[2 * i]!);
      this.#times.set(label, time);
    });
  }

  /** Time per kernel since the last report, longest first. */
  async report(): Promise<KernelTime[]> {
    await Promise.all(this.#pending.splice(0));
    const rows = [...this.#times].map(([kernel, { runs, ns }]) => ({ kernel, runs, ms: ns / 1e6 }));
    this.#times.clear();
    return rows.sort((a, b) => b.ms - a.ms);
  }
}
