import type { Pixels } from "../image/pixels.ts";
import type { ImageInput } from "../pipeline/types.ts";

/**
 * A clip: a path (Node) or web address of an MP4, MOV or WebM file, a path of a folder of pictures (Node), the bytes of such
 * a file, or its frames as images in time order.
 */
export type VideoInput = string | Uint8Array<ArrayBuffer> | readonly ImageInput[];

/**
 * Which N of a clip's T frames are seen. `centres`: the middle frame of N equal parts, `floor(i·T/N + T/2N)`. `linspace`: from
 * the first frame to the last, `floor(i·(T−1)/(N−1))`, as LLaVA does.
 */
export type FrameRule = "centres" | "linspace";

export interface VideoOptions {
  /** Most frames that are seen; a shorter clip is seen whole, each frame once. Default 8 */
  readonly frames?: number | undefined;
  /** Default `centres` */
  readonly rule?: FrameRule | undefined;
  /** From where the clip is seen, in seconds. Default: its beginning */
  readonly start?: number | undefined;
  /** Up to where, in seconds, itself not included. Default: its end */
  readonly end?: number | undefined;
  /** Side of the square that frames are resized to, in pixels, a multiple of 64. Default: as for images */
  readonly imageSize?: number | undefined;
  /** Tokens per frame, a square number: features are averaged to such a grid. Default: all, (imageSize / 64)² */
  readonly tokensPerFrame?: number | undefined;
  /** Tell the model when each frame was, as a text before it. Default false */
  readonly timestamps?: boolean | undefined;
  /** Frames per second of a clip that is a folder or a list of images. Default 1 */
  readonly fps?: number | undefined;
  /** Called as frames are decoded. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The frames of a clip that were chosen. */
export interface Clip {
  /** RGB frames in time order, upright unless photos are to stay as they are stored. */
  readonly frames: readonly Pixels[];
  /** When each of them is shown, in seconds from the clip's beginning. */
  readonly seconds: readonly number[];
}
