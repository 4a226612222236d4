import { DeviceLostError, GpuError } from "../errors.ts";

/** Remembers what a device reports after the call that caused it has returned, for the next call to throw. */
export class Failures {
  #failure: GpuError | null = null;
  #closed = false;

  constructor(device: GPUDevice | null) {
    if (!device) return;
    device.onuncapturederror = (event) => {
      event.preventDefault?.();
      const { error } = event;
      const memory = error.constructor.name === "GPUOutOfMemoryError";
      const reason = error.message.split("\n - While")[0]?.trim();
      this.#failure ??= new GpuError(`${memory ? "the GPU is out of memory" : "the GPU refused a command"}: ${reason}`);
    };
    void device.lost.then(({ reason, message }) => {
      if (this.#closed) return;
      this.#failure = new DeviceLostError(`the GPU device was lost (${reason ?? "unknown"}): ${message}`, {
        hint: "Load the model again; if it happens repeatedly, use a smaller image or model, or update the driver.",
      });
    });
  }

  /** From now on every call fails, and losing the device is no news. */
  close(): void {
    this.#closed = true;
  }

  /** What to throw, if anything. A lost device stays lost; after any other failure the device still works. */
  take(): GpuError | null {
    if (this.#closed) return new GpuError("this GPU device has been closed");
    const failure = this.#failure;
    if (!(failure instanceof DeviceLostError)) this.#failure = null;
    return failure;
  }
}
