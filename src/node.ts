// FastVLM for Node: the library with Dawn, files on disk, and image decoders in WebAssembly and, where installed, native.
import { readFile } from "node:fs/promises";
import { httpFolder } from "../weights/http_folder.ts";
import { InputError } from "./errors.ts";
import { decodeImage } from "./image/decode.ts";
import { openNodeGpu } from "./node/adapter.ts";
import { NodeCodeStore } from "./node/code_store.ts";
import { nodeFolder } from "./node/folder.ts";
import { nativeJpeg, nodeCodecs } from "./node/image_codecs.ts";
import { NodeTuningStore } from "./node/tuning_store.ts";
import { decodeNodeVideo, listImages } from "./node/video.ts";
import { fetchBytes } from "./pipeline/fetch.ts";
import { installPlatform } from "./pipeline/platform.ts";

const isAddress = (source: string): boolean => /^https?:\/\//i.test(source);

installPlatform({
  openGpu(options) {
    void nativeJpeg.version(); // loads the decoder with the model, so that no picture waits for it
    return openNodeGpu(options);
  },
  openFolder: async (source) => (isAddress(source) ? httpFolder(source) : nodeFolder(source)),
  decodeImage: (bytes, options) => decodeImage(bytes, nodeCodecs, options),
  decodeVideo: decodeNodeVideo,
  listImages,
  codeStore: new NodeCodeStore(),
  tuningStore: new NodeTuningStore(),
  async readFile(source, signal) {
    if (isAddress(source)) return fetchBytes(source, signal);
    try {
      return new Uint8Array(await readFile(source, { signal }));
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
      throw new InputError(
        `${source}: ${missing ? "no such file" : `cannot be read (${(cause as NodeJS.ErrnoException).code})`}`,
        { cause },
      );
    }
  },
});

export * from "./index.ts";
export { nodeFolder } from "./node/folder.ts";
