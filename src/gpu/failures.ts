import { DeviceLostError, GpuError } from "../errors.ts";

/** Browsers reject what a lost device was to do some tenths of a millisecond before they tell that it is lost. */
const LOST_MS = 50;

/**
 * Remembers what a device reports after the call that caused it has returned: for the next call to throw, and for all that wait
 * for the device meanwhile, since any of them may be the one whose work it was.
 */
export class Failures {
  /** Failures so far. */
  count = 0;
  /** Until it has been thrown. */
  #failure: GpuError | null = null;
  #last: GpuError | null = null;
  #closed = false;
  readonly #lost: Promise<unknown>;

  constructor(device: GPUDevice | null) {
    this.#lost = device?.lost ?? Promise.resolve();
    if (!device) return;
    device.onuncapturederror = (event) => {
      event.preventDefault?.();
      const { error } = event;
      const memory = error.constructor.name === "GPUOutOfMemoryError";
      const reason = error.message.split("\n - While")[0]?.trim();
      this.#add(new GpuError(`${memory ? "the GPU is out of memory" : "the GPU refused a command"}: ${reason}`));
    };
    void device.lost.then(({ reason, message }) => {
      if (this.#closed) return;
      const hint =
        "Load the model again; if it happens repeatedly, use a smaller image or model, or update the driver.";
      this.#add(new DeviceLostError(`the GPU device was lost (${reason ?? "unknown"}): ${message}`, { hint }));
    });
  }

  /** From now on every call fails, and losing the device is no news. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves when a device that has just failed to do something has had time to say that it is lost. */
  async heard(): Promise<void> {
    if (!this.#closed) await Promise.race([this.#lost, new Promise((resolve) => setTimeout(resolve, LOST_MS))]);
  }

  /** What nobody has thrown yet, if anything. A lost device stays lost; after any other failure the device still works. */
  take(): GpuError | null {
    if (this.#closed) return new GpuError("this GPU device has been closed");
    const failure = this.#failure;
    if (!(failure instanceof DeviceLostError)) this.#failure = null;
    return failure;
  }

  /** The last of what came after the first `count` failures, if anything did, whoever has thrown it. */
  after(count: number): GpuError | null {
    return this.count > count ? this.#last : null;
  }

  /** The first of those that nobody has heard of is the cause of the others; nothing outweighs a lost device. */
  #add(failure: GpuError): void {
    this.count++;
    if (failure instanceof DeviceLostError) this.#failure = failure;
    this.#failure ??= failure;
    this.#last = this.#failure;
  }
}
