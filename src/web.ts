// FastVLM for browsers: the library with the page's WebGPU and image decoders.
import { httpFolder } from "../weights/http_folder.ts";
import { decodeImage } from "./image/decode.ts";
import { fetchBytes } from "./pipeline/fetch.ts";
import { installPlatform } from "./pipeline/platform.ts";
import { openWebGpu } from "./web/adapter.ts";
import { resolveAddress } from "./web/address.ts";
import { webCodecs } from "./web/image_codecs.ts";
import { webTuningStore } from "./web/tuning_store.ts";
import { decodeWebVideo } from "./web/video.ts";

installPlatform({
  openGpu: openWebGpu,
  openFolder: async (source) => httpFolder(resolveAddress(source)),
  decodeImage: (bytes, options) => decodeImage(bytes, webCodecs, options),
  decodeVideo: decodeWebVideo,
  listImages: async () => undefined, // A page reads no folders.
  tuningStore: webTuningStore,
  readFile: async (source, signal) => fetchBytes(resolveAddress(source), signal),
});

export * from "./index.ts";
