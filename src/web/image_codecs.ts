import type { CodecPixels, CodecRequest, Codecs } from "../image/decode.ts";
import { type EmscriptenDecoder, WasmDecoder } from "../image/wasm_decoder.ts";

/** A canvas multiplies colours by alpha and loses them where alpha is 0, so WebP with alpha is decoded by libwebp. */
const webpWithAlpha = new WasmDecoder(
  async () => {
    const { default: create } = await import("@jsquash/webp/codec/dec/webp_dec.js");
    return (await create({ noInitialRun: true })) as unknown as EmscriptenDecoder;
  },
  {
    name: "WebP",
    hint: "Serve @jsquash/webp's webp_dec.wasm beside the bundle; a content security policy must allow 'wasm-unsafe-eval'.",
  },
);

/** The browser's own decoders, and libwebp in WebAssembly where there is alpha. */
export const webCodecs: Codecs = {
  async decode(request: CodecRequest, bytes: Uint8Array): Promise<CodecPixels> {
    return request.alpha ? webpWithAlpha.decode(bytes) : decodeOnCanvas(bytes, request.format);
  },
};

async function decodeOnCanvas(bytes: Uint8Array, format: string): Promise<CodecPixels> {
  const blob = new Blob([bytes as Uint8Array<ArrayBuffer>], { type: `image/${format}` });
  const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  try {
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error(`no canvas of ${width} × ${height}`);
    context.drawImage(bitmap, 0, 0);
    return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
  } finally {
    bitmap.close();
  }
}
