import { InputError } from "../errors.ts";

/** Watches a growing text for the first of several stop texts, and holds back what may be the beginning of one. */
export class StopTexts {
  readonly #stops: readonly string[];
  #held = "";
  /** True once a stop text has come up; nothing more is given out then. */
  found = false;

  /** @throws InputError when a stop text is empty, or no text */
  constructor(stop: string | readonly string[] = []) {
    this.#stops = typeof stop === "string" ? [stop] : stop;
    if (!Array.isArray(this.#stops) || this.#stops.some((text) => typeof text !== "string" || text === "")) {
      throw new InputError("stop: expected a text or a list of texts, none of them empty");
    }
  }

  /** What can be given out now that the text goes on with `text`. */
  push(text: string): string {
    if (this.found) return "";
    const all = this.#held + text;
    const at = Math.min(...this.#stops.map((stop) => all.indexOf(stop)).filter((index) => index >= 0));
    if (at < Number.POSITIVE_INFINITY) {
      this.found = true;
      this.#held = "";
      return all.slice(0, at);
    }
    const safe = all.length - this.#longestBeginning(all);
    this.#held = all.slice(safe);
    return all.slice(0, safe);
  }

  /** What was held back, now that the text has ended. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** Length of the longest end of `text` with which a stop text begins. */
  #longestBeginning(text: string): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
