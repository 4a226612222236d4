import type { CodecPixels } from "../image/decode.ts";

const PACKAGE = "sharp";

/** What is used of `sharp`, which is optional, so that its own types may be absent. */
interface Sharp {
  (
    file: Uint8Array,
    options: { failOn: "warning"; ignoreIcc: boolean },
  ): {
    raw(): {
      toBuffer(options: { resolveWithObject: true }): Promise<{
        data: Uint8Array;
        info: { width: number; height: number; channels: number };
      }>;
    };
  };
  readonly versions: Readonly<Record<string, string | undefined>>;
}

/** libjpeg with SIMD, by the package `sharp` where it is installed: several times as fast as WebAssembly, off the main thread. */
export class NativeJpeg {
  readonly #load: () => Promise<unknown>;
  #sharp: Promise<Sharp | undefined> | undefined;

  /** @param load imports the optional package */
  constructor(load: () => Promise<unknown> = () => import(PACKAGE)) {
    this.#load = load;
  }

  /** Undefined where the package, or its binary for this platform, is not installed. */
  #module(): Promise<Sharp | undefined> {
    this.#sharp ??= this.#load().then(
      (module) => (module as { default: Sharp }).default,
      () => undefined,
    );
    return this.#sharp;
  }

  /** Name and version of what decodes, or undefined where it is not installed. */
  async version(): Promise<string | undefined> {
    const sharp = await this.#module();
    return sharp && `${PACKAGE} ${sharp.versions.sharp}`;
  }

  /**
   * Grey or RGB pixels of a plain JPEG (see `CodecRequest`), or undefined where it is not installed or complains about the
   * file: which damaged pictures are refused must not depend on what is installed.
   */
  async decode(file: Uint8Array): Promise<CodecPixels | undefined> {
    const sharp = await this.#module();
    if (!sharp) return undefined;
    try {
      const { data, info } = await sharp(file, { failOn: "warning", ignoreIcc: true })
        .raw()
        .toBuffer({ resolveWithObject: true });
      const { width, height, channels } = info;
      return channels === 1 || channels === 3 ? { width, height, channels, data } : undefined;
    } catch {
      return undefined;
    }
  }
}
