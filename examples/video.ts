// A question about a video: node examples/video.ts [MODEL] [MP4, MOV, WebM or folder of frames] [QUESTION]
import { fileURLToPath } from "node:url";
import { FastVLM, FastVLMError } from "../src/node.ts"; // in a project of yours: from "fastvlm"

const tiny = fileURLToPath(new URL("../weights/fastvlm-tiny", import.meta.url));
const [model = tiny, video = `${tiny}/samples/clip`, text = "What happens in the video?"] = process.argv.slice(2);

const vlm = await FastVLM.load(model);
const clip = {
  type: "video" as const,
  video,
  frames: 6, // evenly spread over the clip; `start` and `end` cut a part of it
  onProgress: (done: number, total: number) => console.log(`frame ${done} of ${total}`),
};
const question = { role: "user" as const, content: [clip, { type: "text" as const, text }] };
try {
  for await (const piece of vlm.chat([question], { maxTokens: 48, signal: AbortSignal.timeout(60_000) })) {
    process.stdout.write(piece.text);
    if (piece.result)
      console.log(`\n  ${piece.result.usage.imageTokens} of ${piece.result.usage.promptTokens} tokens are the video's`);
  }
} catch (error) {
  if (!(error instanceof FastVLMError)) throw error;
  console.error(error.message, error.hint ?? ""); // such as: what to install to decode videos
  process.exitCode = 1;
} finally {
  vlm.close();
}
