import type { Tensor } from "../tensor/tensor.ts";

/** Resolves with the promise's value. Node needs help here: see `patientWait` in `src/node/adapter.ts`. */
export type Wait = <T>(promise: Promise<T>) => Promise<T>;

/** Staging buffers of this size are kept for the next read, so that a decode step allocates nothing. */
const KEPT_BYTES = 1 << 16;
/** Of larger ones the last is kept, up to this size: mapped memory is slow to get, and frames of a clip come in one size. */
const MAX_LARGE_BYTES = 1 << 24;

/** Copies tensors to the host. */
export class Readback {
  readonly wait: Wait;
  readonly #device: GPUDevice;
  readonly #idle: GPUBuffer[] = [];
  #large: GPUBuffer | undefined;

  constructor(device: GPUDevice, wait: Wait) {
    this.#device = device;
    this.wait = wait;
  }

  /** Records the copy; the returned function, called after the submit, resolves with the bytes. */
  copy(encoder: GPUCommandEncoder, tensor: Tensor): () => Promise<ArrayBuffer> {
    const bytes = Math.ceil(tensor.bytes / 4) * 4;
    const staging = this.#take(bytes);
    if (tensor.block.buffer) encoder.copyBufferToBuffer(tensor.block.buffer, tensor.offset, staging, 0, bytes);
    return async () => {
      try {
        await this.wait(staging.mapAsync(GPUMapMode.READ, 0, bytes));
        const copy = staging.getMappedRange(0, bytes).slice(0);
        staging.unmap();
        this.#keep(staging);
        return copy;
      } catch (error) {
        staging.destroy();
        throw error;
      }
    };
  }

  #keep(staging: GPUBuffer): void {
    if (staging.size === KEPT_BYTES) {
      this.#idle.push(staging);
    } else if (staging.size <= MAX_LARGE_BYTES) {
      this.#large?.destroy();
      this.#large = staging;
    } else staging.destroy();
  }

  #take(bytes: number): GPUBuffer {
    const { MAP_READ, COPY_DST } = GPUBufferUsage;
    if (bytes > KEPT_BYTES && this.#large && bytes <= this.#large.size) {
      const large = this.#large;
      this.#large = undefined;
      return large;
    }
    const kept = bytes <= KEPT_BYTES ? this.#idle.pop() : undefined;
    return kept ?? this.#device.createBuffer({ size: Math.max(bytes, KEPT_BYTES), usage: MAP_READ | COPY_DST });
  }
}
