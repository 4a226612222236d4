// Clips in test/videos were made by ffmpeg (20 frames, 10 a second); beside each lies what ffmpeg decodes of its frames 2, 7,
// 12 and 17, one above the other.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { FastVLMError, InputError, VideoError } from "../src/errors.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { installWebCodecs } from "../src/node/video.ts";
import { type ContentPart, FastVLM } from "../src/node.ts";
import { platform } from "../src/pipeline/platform.ts";
import { gridFor, readVideo } from "../src/video/read.ts";
import { checkChoice, chooseFrames, frameIndices } from "../src/video/sampling.ts";
import type { FrameRule } from "../src/video/types.ts";
import { resultOf } from "./answers.ts";
import { GOLDEN } from "./golden.ts";
import { mutate, randomFrom } from "./mutate.ts";
import { encodePng } from "./png.ts";

const CLIPS = ["h264.mp4", "vp9.webm", "turned.mov"] as const;
const path = (name: string): string => fileURLToPath(new URL(`videos/${name}`, import.meta.url));
const bytesOf = (name: string) => new Uint8Array(readFileSync(path(name)));
const MP4 = bytesOf("h264.mp4");
const SECONDS = [0.2, 0.7, 1.2, 1.7];

/** Frames that ffmpeg decoded. */
async function framesOf(name: string): Promise<Pixels[]> {
  const { width, height, data } = await platform().decodeImage(bytesOf(`${name}.png`), { orientation: true });
  return SECONDS.map((_, i) => {
    const bytes = width * (height / SECONDS.length) * 3;
    return { width, height: height / SECONDS.length, data: data.slice(i * bytes, (i + 1) * bytes) };
  });
}

/** Decoders may differ by rounding in the step from YUV to RGB. */
function assertFrames(got: readonly Pixels[], want: readonly Pixels[]): void {
  assert.deepEqual(
    got.map(({ width, height }) => [width, height]),
    want.map(({ width, height }) => [width, height]),
  );
  for (const [i, { data }] of want.entries()) {
    const worst = data.reduce((most, value, at) => Math.max(most, Math.abs(value - got[i]!.data[at]!)), 0);
    assert.ok(worst <= 2, `frame ${i}: a pixel is off by ${worst}`);
  }
}

/** Frames of one grey each: frame i is of level i. */
const greys = (count: number): Pixels[] =>
  Array.from({ length: count }, (_, i) => ({ width: 2, height: 1, data: new Uint8Array(6).fill(i) }));
const grey = (width: number, height: number, level: number) => {
  const samples = Array.from({ length: height }, () => new Array<number>(width).fill(level));
  return { width, height, depth: 8, colorType: 0, samples };
};
const levels = (frames: readonly Pixels[]): number[] => frames.map(({ data }) => data[0]!);

describe("which frames are seen", () => {
  test("both rules give the reference's indices", () => {
    const { preprocess } = JSON.parse(readFileSync(new URL("manifest.json", GOLDEN), "utf8")) as {
      preprocess: { frame_sampling: ({ total: number; n: number } & Record<FrameRule, number[]>)[] };
    };
    for (const { total, n, ...rules } of preprocess.frame_sampling)
      for (const rule of ["linspace", "centres"] as const) assert.deepEqual(frameIndices(total, n, rule), rules[rule]);
  });

  test("each frame of a short clip once", async () => {
    const { frames, seconds } = await readVideo(greys(3), { frames: 8, fps: 2 });
    assert.deepEqual(
      [levels(frames), seconds],
      [
        [0, 1, 2],
        [0, 0.5, 1],
      ],
    );
  });

  test("from start up to, not including, end", async () => {
    const pick = async (start: number, end: number | undefined, rule: FrameRule) =>
      levels((await readVideo(greys(40), { frames: 3, fps: 10, start, end, rule })).frames);
    assert.deepEqual(await pick(1, 2, "centres"), [11, 15, 18]);
    assert.deepEqual(await pick(1, 2, "linspace"), [10, 14, 19]);
    assert.deepEqual(await pick(3.85, undefined, "linspace"), [39]);
    await assert.rejects(pick(4, 9, "centres"), VideoError);
  });

  test("options that make no sense", async () => {
    const wrong = [
      { frames: 0 },
      { frames: 1.5 },
      { rule: "best" as FrameRule },
      { start: -1 },
      { start: 2, end: 2 },
      { end: Number.NaN },
      { fps: 0 },
    ];
    for (const options of wrong) await assert.rejects(readVideo(greys(3), options), InputError);
    await assert.rejects(readVideo([], {}), VideoError);
    assert.deepEqual([gridFor(undefined), gridFor(64), gridFor(1)], [undefined, 8, 1]);
    for (const tokens of [0, 8, -4, Number.NaN]) assert.throws(() => gridFor(tokens), InputError);
  });

  test("variable frame rates are counted in frames, cut by time", () => {
    const choice = checkChoice({ frames: 2, start: 0.5, end: 3, rule: "linspace" });
    assert.deepEqual(chooseFrames([0, 0.5, 0.6, 2.9, 3], choice), [1, 3]);
  });
});

describe("image sequences", () => {
  test("a folder's pictures in the order of their numbers", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fastvlm-clip-"));
    try {
      for (const [i, { width, height, data }] of greys(12).entries())
        writeFileSync(join(folder, `frame_${i}.png`), encodePng(grey(width, height, data[0]!)));
      writeFileSync(join(folder, "notes.txt"), "not a picture");
      const clip = await readVideo(folder, { frames: 12 });
      assert.deepEqual(levels(clip.frames), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      writeFileSync(join(folder, "frame_3.png"), "");
      const broken = { name: "ImageError", message: /frame_3\.png: expected JPEG, PNG or WebP, got 0 bytes$/ };
      await assert.rejects(readVideo(folder, { frames: 12 }), broken);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("photos are turned upright by their EXIF tag, unless that is not wanted", async () => {
    const turned = fileURLToPath(new URL("preprocess/exif_6.jpg", GOLDEN));
    const [upright] = (await readVideo([turned])).frames;
    const [stored] = (await readVideo([turned], {}, undefined, undefined, false)).frames;
    assert.deepEqual([stored!.width, stored!.height], [upright!.height, upright!.width]);
    assert.notEqual(stored!.width, stored!.height);
    using vlm = await FastVLM.load(fileURLToPath(new URL("models/fastvlm_hf", GOLDEN)), { orientation: false });
    const ask = async (part: ContentPart): Promise<readonly number[]> =>
      (await resultOf(vlm.chat([{ role: "user", content: [part] }], { maxTokens: 8 }))).tokens;
    const image = await ask({ type: "image", image: turned });
    assert.deepEqual(await ask({ type: "video", video: [turned] }), image);
    assert.notDeepEqual(await ask({ type: "image", image: upright! }), image);
  });

  test("an empty folder, and none", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fastvlm-clip-"));
    await assert.rejects(readVideo(folder), InputError);
    rmSync(folder, { recursive: true });
    await assert.rejects(readVideo(folder), { name: "InputError", message: `${folder}: no such file` });
  });
});

test("without the optional decoder there is one typed error that says what to install", async () => {
  const load = async () => {
    throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
  };
  await assert.rejects(installWebCodecs(load, {}), (error) => {
    assert.ok(error instanceof VideoError);
    assert.match(error.message, /@napi-rs\/webcodecs/);
    assert.match(error.hint ?? "", /npm install @napi-rs\/webcodecs/);
    return true;
  });
});

const skip = await installWebCodecs().then(
  () => false,
  (error: Error) => error.message,
);

describe("video files", { skip }, () => {
  for (const name of CLIPS) {
    test(`${name}: ffmpeg's frames and times, from its path and its bytes`, async () => {
      const want = await framesOf(name);
      for (const input of [path(name), bytesOf(name)]) {
        const { frames, seconds } = await readVideo(input, { frames: 4 });
        assert.deepEqual(
          seconds.map((time) => Math.round(time * 1000) / 1000),
          SECONDS,
        );
        assertFrames(frames, want);
      }
    });

    test(`${name}: a part, and a decoder that begins in the middle`, async () => {
      const [, , , last] = await framesOf(name);
      const { frames, seconds } = await readVideo(path(name), { frames: 1, start: 1.65, end: 1.75 });
      assert.deepEqual(
        seconds.map((time) => time.toFixed(3)),
        ["1.700"],
      );
      assertFrames(frames, [last!]);
    });
  }

  test("at an address, of servers with and without ranges", async () => {
    const requests: string[] = [];
    const server = createServer(({ url, headers }, response) => {
      requests.push(`${url} ${headers.range}`);
      const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
      if (url?.startsWith("/none.mp4")) response.writeHead(404).end("no");
      else if (url === "/ranges.mp4" && range) {
        const [from, to] = [Number(range[1]), Math.min(Number(range[2] || MP4.length - 1), MP4.length - 1)];
        const headers = { "content-range": `bytes ${from}-${to}/${MP4.length}`, "accept-ranges": "bytes" };
        response.writeHead(206, headers).end(MP4.subarray(from, to + 1));
      } else response.writeHead(200, { "content-length": MP4.length }).end(MP4);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const want = await framesOf("h264.mp4");
      for (const url of [`${at}/ranges.mp4`, `${at}/whole.mp4`])
        assertFrames((await readVideo(url, { frames: 4 })).frames, want);
      await assert.rejects(readVideo(`${at}/none.mp4`), { name: "InputError", message: /HTTP 404/ });
      for (const address of [`${at}/none.mp4?token=secret`, `${at.replace("//", "//me:secret@")}/none.mp4`]) {
        await assert.rejects(readVideo(address), (error: unknown) => {
          return error instanceof InputError && !inspect(error).includes("secret");
        });
      }
      assert.ok(requests.length >= 3);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    const unreached = { name: "InputError", message: /cannot be reached/, hint: /network.*CORS/ };
    await assert.rejects(readVideo(`${at}/gone.mp4`), unreached);
    await assert.rejects(readVideo([`${at}/gone.jpg`]), unreached);
  });

  test("frames are made smaller as they come; progress", async () => {
    const seen: string[] = [];
    const onProgress = (done: number, total: number) => seen.push(`${done}/${total}`);
    const first = (frame: Pixels): Pixels => ({ width: 1, height: 1, data: frame.data.slice(0, 3) });
    const { frames } = await readVideo(MP4, { frames: 3, onProgress }, undefined, first);
    assert.deepEqual(
      frames.map(({ data }) => data.length),
      [3, 3, 3],
    );
    assert.deepEqual(seen, ["1/3", "2/3", "3/3"]);
  });

  test("an abort throws the signal's reason, before and in the middle", async () => {
    await assert.rejects(readVideo(MP4, {}, AbortSignal.abort("early")), (reason) => reason === "early");
    const controller = new AbortController();
    let frames = 0;
    const onProgress = () => {
      frames++;
      controller.abort("enough");
    };
    await assert.rejects(readVideo(MP4, { frames: 20, onProgress }, controller.signal), (why) => why === "enough");
    assert.equal(frames, 1);
  });

  test("empty, cut and foreign files give one typed error", async () => {
    for (const name of CLIPS) {
      const whole = bytesOf(name);
      for (const part of [0, 0.01, 0.3, 0.5, 0.9]) {
        const cut = whole.slice(0, Math.floor(whole.length * part));
        await assert.rejects(readVideo(cut, { frames: 20 }), VideoError, `${name}, ${part} of it`);
      }
    }
    await assert.rejects(readVideo(bytesOf("h264.mp4.png")), VideoError);
    await assert.rejects(readVideo(path("none.mp4")), InputError);
  });

  test("damaged files decode, or give a typed error", async () => {
    const random = randomFrom(7);
    let failed = 0;
    for (let i = 0; i < 60; i++) {
      await readVideo(mutate(bytesOf(CLIPS[i % 3]!), random), { frames: 4 }).catch((error: unknown) => {
        assert.ok(error instanceof FastVLMError, String(error));
        failed++;
      });
    }
    assert.ok(failed > 0);
  });
});
