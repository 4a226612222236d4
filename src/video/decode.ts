import type { Input, InputVideoTrack, Source, VideoSample } from "mediabunny";
import { FastVLMError, VideoError } from "../errors.ts";
import { MAX_PIXELS, MAX_SIDE } from "../image/decode.ts";
import { applyOrientation } from "../image/orientation.ts";
import type { Pixels } from "../image/pixels.ts";
import { preprocess } from "../image/preprocess.ts";
import { type Choice, chooseFrames } from "./sampling.ts";
import type { Clip } from "./types.ts";

type Mediabunny = typeof import("mediabunny");

/** What is wanted of a video file. */
export interface ClipRequest extends Choice {
  /** Applied to each frame as it comes, so that a long clip's frames need not all be held in full size. */
  readonly finish: (frame: Pixels) => Pixels | Promise<Pixels>;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Exif orientations that turn by as many degrees clockwise. */
const TURNS: Readonly<Record<number, number>> = { 0: 1, 90: 6, 180: 3, 270: 8 };

/**
 * Decodes the chosen frames of an MP4, MOV or WebM file by way of WebCodecs' `VideoDecoder`, which must exist by then.
 *
 * Frames are chosen from the container's list of them, so their indices are exact; only the groups of pictures that hold
 * chosen frames are decoded. Colours become sRGB bytes, turned frames upright, pixels square.
 *
 * @param open makes the source of the file's bytes
 * @throws VideoError when the bytes are not such a file, are cut off or damaged, or of a codec this runtime lacks
 */
export async function decodeVideo(
  open: (bunny: Mediabunny) => Source,
  request: ClipRequest,
  signal?: AbortSignal,
): Promise<Clip> {
  signal?.throwIfAborted();
  const bunny = await import("mediabunny");
  const { Input, MATROSKA, MP4, QTFF, WEBM } = bunny;
  const input = new Input({ formats: [MP4, QTFF, WEBM, MATROSKA], source: open(bunny) });
  const stop = () => input.dispose();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await readClip(bunny, input, request, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof FastVLMError) throw cause;
    throw new VideoError("video: cut off or damaged, or of a rare kind: the decoder gave up", {
      hint: "See whether a video player shows it; if so, convert it to MP4 (H.264).",
      cause,
    });
  } finally {
    signal?.removeEventListener("abort", stop);
    stop();
  }
}

async function readClip(
  bunny: Mediabunny,
  input: Input,
  request: ClipRequest,
  signal: AbortSignal | undefined,
): Promise<Clip> {
  if (!(await input.canRead())) {
    throw new VideoError("video: expected an MP4, MOV or WebM file, got bytes of another kind, or cut off");
  }
  const track = await input.getPrimaryVideoTrack();
  if (!track) throw new VideoError("video: the file holds no pictures");
  await checkTrack(track);
  const times = await frameTimes(bunny, track);
  const first = times[0] ?? 0;
  const chosen = chooseFrames(
    times.map((time) => time - first),
    request,
  );
  const frames: Pixels[] = [];
  const wanted = chosen.map((index) => times[index]!);
  for await (const sample of new bunny.VideoSampleSink(track).samplesAtTimestamps(wanted)) {
    signal?.throwIfAborted();
    if (!sample) throw damaged(chosen[frames.length]!);
    try {
      // A decoder that has lost its way shows the frame before.
      if (Math.abs(sample.timestamp - wanted[frames.length]!) > 1e-3) throw damaged(chosen[frames.length]!);
      frames.push(await request.finish(await pixelsOf(sample)));
    } finally {
      sample.close();
    }
    request.onProgress?.(frames.length, chosen.length);
  }
  return { frames, seconds: chosen.map((index) => times[index]! - first) };
}

async function checkTrack(track: InputVideoTrack): Promise<void> {
  const [width, height] = [await track.getSquarePixelWidth(), await track.getSquarePixelHeight()];
  if (!(width > 0 && height > 0 && width * height <= MAX_PIXELS && Math.max(width, height) <= MAX_SIDE)) {
    throw new VideoError(
      `video: expected frames of 1 to ${MAX_PIXELS} pixels, at most ${MAX_SIDE} a side, got ${width} × ${height}`,
    );
  }
  if (await track.canDecode()) return;
  const codec = (await track.getCodecParameterString()) ?? (await track.getCodec()) ?? "an unknown codec";
  throw new VideoError(`video: this runtime has no decoder for ${codec}`, {
    hint: "Convert the file, for example to MP4 with H.264 or WebM with VP9.",
  });
}

/** When each frame is shown, in seconds, ascending. Reads the container's tables or block headers, no pictures. */
async function frameTimes(bunny: Mediabunny, track: InputVideoTrack): Promise<number[]> {
  const times: number[] = [];
  const packets = new bunny.EncodedPacketSink(track).packets(undefined, undefined, { metadataOnly: true });
  for await (const { timestamp } of packets) times.push(timestamp);
  // Edit lists put frames before the beginning that are decoded but not shown.
  const shown = times.filter((time) => time >= 0);
  return (shown.length > 0 ? shown : times).sort((a, b) => a - b).filter((time, i, all) => time !== all[i - 1]);
}

async function pixelsOf(sample: VideoSample): Promise<Pixels> {
  const { width, height } = sample.visibleRect;
  const rgba = new Uint8Array(width * height * 4);
  await sample.copyTo(rgba, { format: "RGBA" });
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from]!;
    data[to + 1] = rgba[from + 1]!;
    data[to + 2] = rgba[from + 2]!;
  }
  const square = squarePixels({ width, height, data }, sample);
  const turned = applyOrientation(square, TURNS[sample.rotation] ?? 1);
  return sample.flip ? applyOrientation(turned, 2) : turned;
}

/** Stretches frames whose pixels are not square, such as a DVD's. */
function squarePixels(pixels: Pixels, { squarePixelWidth, squarePixelHeight }: VideoSample): Pixels {
  const { width, height } = pixels;
  if (squarePixelWidth === width && squarePixelHeight === height) return pixels;
  const source = { width, height };
  const size = { width: squarePixelWidth, height: squarePixelHeight };
  const whole = { left: 0, top: 0 };
  const plan = { source, canvas: { ...whole, ...source }, fill: [0, 0, 0] as const, size, crop: { ...whole, ...size } };
  return { ...size, data: preprocess(pixels, plan) };
}

const damaged = (frame: number): VideoError =>
  new VideoError(`video: cut off or damaged: frame ${frame} cannot be decoded`, {
    hint: "Take the part before it with `end`, or make the file again.",
  });
