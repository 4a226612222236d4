import type { WriteStream } from "node:tty";

const WIDTH = 24;

/** A loading bar on one line; silent when the stream is not a terminal. */
export function loadProgress(stream: WriteStream): (loaded: number, total: number) => void {
  let shown = -1;
  return (loaded, total) => {
    const percent = total === 0 ? 100 : Math.floor((loaded / total) * 100);
    if (!stream.isTTY || percent === shown) return;
    shown = percent;
    const filled = Math.round((percent / 100) * WIDTH);
    const bar = "█".repeat(filled) + "░".repeat(WIDTH - filled);
    stream.write(
      percent === 100 ? "\r\x1b[2K" : `\r\x1b[2Kloading ${bar} ${percent} % of ${(total / 2 ** 20).toFixed(0)} MiB`,
    );
  };
}
