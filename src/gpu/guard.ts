import { GpuError } from "../errors.ts";
import { Failures } from "./failures.ts";
import type { Memory } from "./memory.ts";
import type { CommandStream } from "./stream.ts";

/** Throws what a device has refused, to whomever it may concern, and has nobody use what came of it. */
export class Guard {
  readonly #failures: Failures;
  readonly #memory: Memory;
  readonly #stream: CommandStream | null;

  /** @param stream absent where nothing is computed */
  constructor(device: GPUDevice | null, memory: Memory, stream: CommandStream | null) {
    this.#failures = new Failures(device);
    this.#memory = memory;
    this.#stream = stream;
  }

  /** Number of failures so far. */
  get failures(): number {
    return this.#failures.count;
  }

  /** From now on every check throws. */
  close(): void {
    this.#failures.close();
  }

  /**
   * Throws what nobody has heard of.
   *
   * @param since also what came after so many failures, whoever has heard of it. Default: nothing
   */
  check(since = this.failures): void {
    const failure = this.#failures.take();
    if (failure) {
      this.#stream?.discard();
      this.#memory.distrust();
      throw failure;
    }
    // By now others may have begun anew.
    const earlier = this.#failures.after(since);
    if (earlier) throw earlier;
  }

  /** The result of submitted work; what was refused after the first `since` failures may have been part of it. */
  async wait<Result>(done: Promise<Result>, since: number, what: string): Promise<Result> {
    const { mark } = this.#memory;
    const result = await done.catch(async (cause: unknown) => {
      await this.#failures.heard();
      this.check(since);
      throw new GpuError(`${what} failed`, { cause });
    });
    this.check(since);
    this.#memory.prove(mark);
    return result;
  }
}
