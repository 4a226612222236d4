import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import createJpegDecoder from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import createWebpDecoder from "@jsquash/webp/codec/dec/webp_dec.js";
import { ImageError } from "../errors.ts";
import type { CodecPixels, CodecRequest, Codecs } from "../image/decode.ts";
import { type EmscriptenDecoder, WasmDecoder } from "../image/wasm_decoder.ts";
import { NativeJpeg } from "./native_jpeg.ts";

/** An Emscripten module's factory, with the options used here. */
type Factory = (options: {
  instantiateWasm(imports: WebAssembly.Imports, use: (instance: WebAssembly.Instance) => void): WebAssembly.Exports;
  print(line: string): void;
  printErr(line: string): void;
}) => Promise<EmscriptenDecoder>;

/** A decoder whose `.wasm` file lies in an installed package; compiled when first used. */
function wasmDecoder(name: string, factory: Factory, file: string, decode: readonly boolean[] = []): WasmDecoder {
  let compiled: WebAssembly.Module | undefined;
  const create = async () => {
    compiled ??= new WebAssembly.Module(readFileSync(createRequire(import.meta.url).resolve(file)));
    const module = compiled;
    return factory({
      instantiateWasm(imports, use) {
        const instance = new WebAssembly.Instance(module, imports);
        use(instance);
        return instance.exports;
      },
      // A damaged picture is reported as an error, not on the terminal.
      print() {},
      printErr() {},
    });
  };
  return new WasmDecoder(create, { name, decode, hint: `Install the dependencies again: they bring ${file}.` });
}

const turnByExif = false;
const jpegFile = "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm";
const jpeg = wasmDecoder("JPEG", createJpegDecoder as unknown as Factory, jpegFile, [turnByExif]);
const webp = wasmDecoder("WebP", createWebpDecoder as unknown as Factory, "@jsquash/webp/codec/dec/webp_dec.wasm");

/** What jpeg-js decodes, which keeps every coefficient as a number of 32 bits: over 2 GB at this size. */
const CMYK_MEGAPIXELS = 40;

/** The libjpeg that `nodeCodecs` asks first. */
export const nativeJpeg = new NativeJpeg();

/**
 * MozJPEG and libwebp in WebAssembly, and jpeg-js for CMYK, which MozJPEG does not turn into RGB.
 *
 * @param native is asked first for plain JPEGs, which it decodes to the same bytes
 */
export const codecsWith = (native: NativeJpeg): Codecs => ({
  async decode({ format, cmyk, plain }: CodecRequest, bytes: Uint8Array): Promise<CodecPixels> {
    if (format === "webp") return webp.decode(bytes);
    if (cmyk) return decodeCmyk(bytes);
    return (plain ? await native.decode(bytes) : undefined) ?? jpeg.decode(bytes);
  },
});

/** The decoders of Node. */
export const nodeCodecs: Codecs = codecsWith(nativeJpeg);

async function decodeCmyk(bytes: Uint8Array): Promise<CodecPixels> {
  const { decode } = await import("jpeg-js");
  const options = { useTArray: true, formatAsRGBA: false, tolerantDecoding: false } as const;
  const limits = { maxResolutionInMP: CMYK_MEGAPIXELS, maxMemoryUsageInMB: 2048 };
  try {
    const { width, height, data } = decode(bytes, { ...options, ...limits });
    return { width, height, channels: 3, data };
  } catch (cause) {
    if (!(cause instanceof Error && cause.message.includes("limit exceeded"))) throw cause;
    throw new ImageError(`image: CMYK JPEG: expected at most ${CMYK_MEGAPIXELS} million pixels`, {
      hint: "save the picture in RGB, or make it smaller",
      cause,
    });
  }
}
