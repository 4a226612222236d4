// A browser's own WebCodecs against the frames that ffmpeg decoded. Headless Chromium has VP9; H.264 needs a licence.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeImage } from "../src/image/decode.ts";
import { nodeCodecs } from "../src/node/image_codecs.ts";
import { openBrowser, openPage } from "./browser/open.ts";

const PAGE = `<!doctype html><link rel="icon" href="data:,">
<script type="importmap">{"imports":{"mediabunny":"/node_modules/mediabunny/dist/bundles/mediabunny.mjs"}}</script>`;
const bytesOf = (name: string) => new Uint8Array(readFileSync(new URL(`videos/${name}`, import.meta.url)));

test("vp9.webm in a browser: ffmpeg's frames, and the same errors", async (context) => {
  const opened = await openBrowser(context);
  if (!opened) return;
  const page = await openPage(opened, PAGE);
  const decode = (bytes: readonly number[]) =>
    page.evaluate(async (list) => {
      const path = "/src/web/video.ts";
      const { decodeWebVideo } = (await import(path)) as typeof import("../src/web/video.ts");
      const choice = { frames: 4, rule: "centres", start: 0, end: Number.POSITIVE_INFINITY } as const;
      try {
        const clip = await decodeWebVideo(Uint8Array.from(list), { ...choice, finish: (frame) => frame });
        return { seconds: clip.seconds, frames: clip.frames.map(({ width, data }) => ({ width, data: [...data] })) };
      } catch (error) {
        return { problem: `${(error as Error).name}: ${(error as Error).message}` };
      }
    }, bytes);

  const { seconds, frames, problem } = await decode([...bytesOf("vp9.webm")]);
  assert.equal(problem, undefined);
  assert.deepEqual(
    seconds?.map((time) => Math.round(time * 1000)),
    [200, 700, 1200, 1700],
  );
  const want = await decodeImage(bytesOf("vp9.webm.png"), nodeCodecs);
  assert.deepEqual(
    frames?.map(({ width }) => width),
    [64, 64, 64, 64],
  );
  // Browsers may take neighbouring chroma samples where ffmpeg takes the nearest: edges of colours differ, the rest does not.
  const got = frames!.flatMap(({ data }) => data);
  const mean = got.reduce((sum, value, i) => sum + Math.abs(value - want.data[i]!), 0) / want.data.length;
  assert.equal(got.length, want.data.length);
  assert.ok(mean < 2, `pixels are off by ${mean} on average`);
  assert.match((await decode([...bytesOf("vp9.webm").subarray(0, 1500)])).problem ?? "", /^VideoError: /);
});
