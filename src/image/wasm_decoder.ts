/** The part of an Emscripten module that a decoder uses. */
export interface EmscriptenDecoder {
  /** RGBA pixels, or null when the bytes do not decode. */
  decode(bytes: Uint8Array, ...options: readonly boolean[]): WasmPixels | null;
  readonly HEAPU8: Uint8Array;
}

interface WasmPixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/** WebAssembly memory only grows, so an instance that has grown beyond this is not kept. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

/**
 * A decoder in WebAssembly whose instance is replaced when it has failed or has grown large.
 *
 * A failure leaves memory unfreed and the stack unwound halfway; what the instance does after that is undefined.
 */
export class WasmDecoder {
  readonly #create: () => Promise<EmscriptenDecoder>;
  readonly #options: readonly boolean[];

  #instance: Promise<EmscriptenDecoder> | undefined;

  /**
   * @param create  makes a new instance; called when first needed and after each replacement
   * @param options what the module's `decode` wants after the bytes
   */
  constructor(create: () => Promise<EmscriptenDecoder>, options: readonly boolean[] = []) {
    this.#create = create;
    this.#options = options;
  }

  async decode(bytes: Uint8Array): Promise<WasmPixels & { channels: 4 }> {
    this.#instance ??= this.#create();
    const instance = this.#instance;
    let healthy = false;
    try {
      const module = await instance;
      const image = module.decode(bytes, ...this.#options);
      if (!image) throw new Error("no pixels");
      healthy = module.HEAPU8.length <= MAX_KEPT_BYTES;
      const { width, height, data } = image;
      return { width, height, channels: 4, data };
    } finally {
      if (!healthy && this.#instance === instance) this.#instance = undefined;
    }
  }
}
