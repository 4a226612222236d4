import type { WriteStream } from "node:tty";

const WIDTH = 24;
const CLEAR = "\r\x1b[2K";
/** Milliseconds between redraws. */
const PERIOD = 100;

const bar = (share: number): string => {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * WIDTH);
  return "█".repeat(filled) + "░".repeat(WIDTH - filled);
};

/** A loading bar on one line; silent when the stream is not a terminal. */
export function loadProgress(stream: WriteStream): (loaded: number, total: number) => void {
  let shown = -1;
  return (loaded, total) => {
    const percent = total === 0 ? 100 : Math.floor((loaded / total) * 100);
    if (!stream.isTTY || percent === shown) return;
    shown = percent;
    const size = `${(total / 2 ** 20).toFixed(0)} MiB`;
    stream.write(percent === 100 ? CLEAR : `${CLEAR}loading ${bar(percent / 100)} ${percent} % of ${size}`);
  };
}

/** What a progress bar says: share, count, rate and time left. */
export function progressText(done: number, total: number, ms: number): string {
  const perSecond = done === 0 || ms === 0 ? 0 : (done * 1000) / ms;
  const rate = perSecond >= 1 ? `${perSecond.toFixed(1)}/s` : `${(perSecond * 60).toFixed(1)}/min`;
  const left = perSecond === 0 ? "" : ` · ${rate} · ${duration((total - done) / perSecond)} left`;
  return `${bar(total === 0 ? 1 : done / total)} ${done}/${total}${left}`;
}

/** Seconds as `42 s`, `3 min 20 s` or `5 h 7 min`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A progress bar at the bottom of a terminal, with lines above it. Without a terminal there are only the lines. */
export class ProgressBar {
  readonly #stream: WriteStream;
  readonly #total: number;
  readonly #started = performance.now();
  #done = 0;
  #drawn = Number.NEGATIVE_INFINITY;

  constructor(stream: WriteStream, total: number) {
    this.#stream = stream;
    this.#total = total;
    this.#draw();
  }

  step(): void {
    this.#done++;
    this.#draw();
  }

  /** Prints a line above the bar. */
  line(text: string): void {
    this.#stream.write(`${this.#stream.isTTY ? CLEAR : ""}${text}\n`);
    this.#drawn = Number.NEGATIVE_INFINITY;
    this.#draw();
  }

  clear(): void {
    if (this.#stream.isTTY) this.#stream.write(CLEAR);
  }

  #draw(): void {
    const now = performance.now();
    if (!this.#stream.isTTY || now - this.#drawn < PERIOD) return;
    this.#drawn = now;
    const text = progressText(this.#done, this.#total, now - this.#started);
    this.#stream.write(CLEAR + text.slice(0, (this.#stream.columns || 80) - 1));
  }
}

/** A passing message on a terminal's last line, such as what is being waited for. */
export function status(stream: WriteStream): { say(text: string): void; clear(): void } {
  let shown = false;
  return {
    say(text) {
      if (!stream.isTTY) return;
      shown = true;
      stream.write(`${CLEAR}\x1b[2m${text}\x1b[22m`);
    },
    clear() {
      if (shown) stream.write(CLEAR);
      shown = false;
    },
  };
}
