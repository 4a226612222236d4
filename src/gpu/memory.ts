import { type Block, Pool } from "./pool.ts";

/** What there is of memory in buffers, in bytes; `allocations` counts buffers ever made. */
export interface MemoryUse {
  readonly allocated: number;
  readonly used: number;
  readonly peak: number;
  readonly allocations: number;
}

/** Whose a tensor's memory is: the innermost scope's, which gives it back when it ends, or nobody's, until it is released. */
export class Memory {
  readonly #pool: Pool;
  /** What tapes write to: nobody else may have it, but each other. See `Gpu.tape` */
  readonly #reserved: Pool;
  /** Where blocks come from and go to now. */
  #current: Pool;
  #scopes: Block[][] = [];
  #peak = 0;

  /** @param device absent where nothing is computed @param maxBytes the largest buffer the device makes */
  constructor(device: GPUDevice | null, maxBytes: number) {
    this.#pool = this.#current = new Pool(device, maxBytes);
    this.#reserved = new Pool(device, maxBytes);
  }

  get use(): MemoryUse {
    const [a, b] = [this.#pool, this.#reserved];
    return {
      allocated: a.allocatedBytes + b.allocatedBytes,
      used: a.usedBytes + b.usedBytes,
      peak: this.#peak,
      allocations: a.allocations + b.allocations,
    };
  }

  get freeBytes(): number {
    return this.#pool.freeBytes;
  }

  take(bytes: number): Block {
    const block = this.#current.take(bytes);
    this.#peak = Math.max(this.#peak, this.#pool.allocatedBytes + this.#reserved.allocatedBytes);
    this.#scopes.at(-1)?.push(block);
    return block;
  }

  give(block: Block): void {
    remove(this.#scopes.at(-1) ?? [], block);
    this.#current.give(block);
  }

  /** Gives all blocks back that `body` took, but those it keeps: they belong to the scope around it, or to nobody. */
  scope<Result>(body: () => Result, kept: (result: Result) => readonly Block[]): Result {
    const mine: Block[] = [];
    this.#scopes.push(mine);
    try {
      const result = body();
      for (const block of kept(result)) if (remove(mine, block)) this.#scopes.at(-2)?.push(block);
      return result;
    } finally {
      this.#scopes.pop();
      for (const block of mine) this.#current.give(block);
    }
  }

  /** What `body` takes belongs to no scope. */
  outside<Result>(body: () => Result): Result {
    const scopes = this.#scopes;
    this.#scopes = [];
    try {
      return body();
    } finally {
      this.#scopes = scopes;
    }
  }

  /** Runs `body`, which keeps nothing, on memory that is only counted; returns the most it needed at once, in bytes. */
  counting(body: () => void): number {
    const pool = new Pool(null, Number.MAX_SAFE_INTEGER);
    this.#within(pool, body);
    return pool.peakBytes;
  }

  /** Runs `body`, which keeps nothing, on the memory of tapes, unless memory is only counted. */
  reserving(body: () => void): void {
    this.#within(this.#current === this.#pool ? this.#reserved : this.#current, body);
  }

  /** See `Pool.trim`. What tapes write to stays. */
  trim(maxFreeBytes: number): void {
    this.#pool.trim(maxFreeBytes);
  }

  /** What to `prove` once the work that is submitted now has been done. */
  get mark(): number {
    return Pool.nextId;
  }

  /** See `Pool.prove`. */
  prove(mark: number): void {
    this.#pool.prove(mark);
    this.#reserved.prove(mark);
  }

  /** See `Pool.distrust`. No command that has not been submitted may use what there is. */
  distrust(): void {
    this.#pool.distrust();
    this.#reserved.distrust();
  }

  #within(pool: Pool, body: () => void): void {
    const before = this.#current;
    this.#current = pool;
    try {
      this.scope(body, () => []);
    } finally {
      this.#current = before;
    }
  }
}

/** Takes a block out of a scope, which has few; the last ones are asked for most. */
function remove(scope: Block[], block: Block): boolean {
  const at = scope.lastIndexOf(block);
  if (at >= 0) scope.splice(at, 1);
  return at >= 0;
}
