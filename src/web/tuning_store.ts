import type { TuningStore } from "../pipeline/tuning.ts";

/** Where a page may keep nothing, or in a worker, choices last as long as the program. */
const memory = new Map<string, string>();

const PREFIX = "fastvlm tuning: ";

/** Measured choices in the page's local storage. */
export const webTuningStore: TuningStore = {
  get runtime(): string {
    return navigator.userAgent;
  },
  async read(key) {
    try {
      return localStorage.getItem(PREFIX + key) ?? memory.get(key);
    } catch {
      return memory.get(key);
    }
  },
  async write(key, text) {
    memory.set(key, text);
    try {
      localStorage.setItem(PREFIX + key, text);
    } catch {
      // Full, forbidden, or a worker's: memory has it.
    }
  },
};
