import { ImageError } from "../errors.ts";

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

/** What a decoder is called, and how to call it. */
export interface WasmDecoderOptions {
  /** The format, for errors. */
  readonly name: string;
  /** The way out where the decoder cannot be loaded. */
  readonly hint: string;
  /** What the module's `decode` wants after the bytes. */
  readonly decode?: readonly boolean[];
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
  readonly #options: WasmDecoderOptions;

  #instance: Promise<EmscriptenDecoder> | undefined;

  /**
   * @param create makes a new instance; called when first needed and after each replacement
   */
  constructor(create: () => Promise<EmscriptenDecoder>, options: WasmDecoderOptions) {
    this.#create = create;
    this.#options = options;
  }

  /** @throws ImageError when the decoder cannot be loaded, and anything when the bytes do not decode */
  async decode(bytes: Uint8Array): Promise<WasmPixels & { channels: 4 }> {
    this.#instance ??= this.#load();
    const instance = this.#instance;
    let healthy = false;
    try {
      const module = await instance;
      const image = module.decode(bytes, ...(this.#options.decode ?? []));
      if (!image) throw new Error("no pixels");
      healthy = module.HEAPU8.length <= MAX_KEPT_BYTES;
      const { width, height, data } = image;
      return { width, height, channels: 4, data };
    } finally {
      if (!healthy && this.#instance === instance) this.#instance = undefined;
    }
  }

  /** A picture is not to blame for a decoder that is not there. */
  async #load(): Promise<EmscriptenDecoder> {
    try {
      return await this.#create();
    } catch (cause) {
      const { name, hint } = this.#options;
      throw new ImageError(`image: the ${name} decoder could not be loaded`, { hint, cause });
    }
  }
}
