import type { Gpu } from "../gpu/gpu.ts";
import type { Tensor } from "../tensor/tensor.ts";

interface Entry {
  readonly tokens: Tensor;
  /** Answers that are using it. */
  users: number;
}

/**
 * Image tokens on the GPU by content. What nobody uses is kept for the next question, the least recently used going first
 * once all of it together exceeds `maxBytes`.
 */
export class ImageCache {
  readonly maxBytes: number;
  readonly #gpu: Gpu;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(gpu: Gpu, maxBytes: number) {
    this.#gpu = gpu;
    this.maxBytes = maxBytes;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The tokens [N, D] of this key, if they are here; they stay until `release`. */
  acquire(key: string): Tensor | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    entry.users++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.tokens;
  }

  /** Takes over tokens just computed, and acquires them. Should the key be known already, the known ones are returned. */
  add(key: string, tokens: Tensor): Tensor {
    const known = this.acquire(key);
    if (known) {
      this.#gpu.release(tokens);
      return known;
    }
    this.#entries.set(key, { tokens, users: 1 });
    this.#bytes += tokens.bytes;
    this.#shrink();
    return tokens;
  }

  release(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) entry.users--;
    this.#shrink();
  }

  /** Drops tokens that were not computed after all. Whoever uses them has failed as well. */
  forget(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.tokens.bytes;
    this.#gpu.release(entry.tokens);
  }

  #shrink(): void {
    for (const [key, { tokens, users }] of this.#entries) {
      if (this.#bytes <= this.maxBytes) return;
      if (users > 0) continue;
      this.#entries.delete(key);
      this.#bytes -= tokens.bytes;
      this.#gpu.release(tokens);
    }
  }
}
