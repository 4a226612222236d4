import { type CodeStore, codesFile, withCodes, writeCodes } from "../../weights/code_cache.ts";
import type { QuantFormats, RoundedPart } from "../../weights/weights.ts";
import { Gpu } from "../gpu/gpu.ts";
import { assemble, type Parts } from "./assemble.ts";

/** A GPU without new work for so long has nothing better to do than to give back codes. */
const QUIET_MS = 500;
/** Codes and scales are read back by one submit each. */
const SUBMITS_PER_PIECE = 2;

/** Where the codes of a model that is rounded while it loads are kept, and whether they are there. */
export class CodeCache {
  /** What to load: with kept codes in place of numbers, where they are there. */
  readonly parts: Parts;
  readonly hit: boolean;
  readonly #store: CodeStore;
  readonly #file: string;
  readonly #original: Parts;

  private constructor(store: CodeStore, file: string, original: Parts, found: Parts | undefined) {
    this.#store = store;
    this.#file = file;
    this.#original = original;
    this.parts = found ?? original;
    this.hit = found !== undefined;
  }

  /**
   * Looks for the codes of a model's language part. A damaged file is reported and removed.
   *
   * @returns undefined when nothing can be kept of this model
   */
  static async find(
    parts: Parts,
    formats: QuantFormats,
    store: CodeStore,
    onWarning: (message: string) => void,
  ): Promise<CodeCache | undefined> {
    const { checkpoint } = parts.language;
    const rounded = languageOf(assemble(Gpu.dry(), parts, "f32", { formats }).weights).rounded;
    try {
      const file = await codesFile(checkpoint, rounded);
      if (file === undefined) return undefined;
      const missing = new CodeCache(store, file, parts, undefined);
      const folder = await store.open(file).catch(() => undefined);
      if (!folder) return missing;
      try {
        const language = { ...parts.language, checkpoint: await withCodes(checkpoint, rounded, folder, file) };
        const replace = <P>(part: P): P | typeof language => (part === parts.language ? language : part);
        const found = { language, vision: replace(parts.vision), projector: replace(parts.projector) };
        return new CodeCache(store, file, parts, found);
      } catch (error) {
        return await missing.discard(error, onWarning);
      }
    } finally {
      await checkpoint.folder.close();
    }
  }

  /** Removes a file that turned out to be damaged. Returns the cache without it. */
  async discard(error: unknown, onWarning: (message: string) => void): Promise<CodeCache> {
    onWarning(`kept codes are damaged and will be made again: ${error instanceof Error ? error.message : error}`);
    await this.#store.remove(this.#file).catch(() => undefined);
    return new CodeCache(this.#store, this.#file, this.#original, undefined);
  }

  /** Begins to keep the codes of a model that has been loaded from numbers. */
  keep(weights: Weighted): Keeping {
    const language = languageOf(weights);
    return new Keeping(language.gpu, (turn) =>
      writeCodes(this.#original.language.checkpoint, language.rounded, this.#store, this.#file, turn),
    );
  }
}

type Weighted = readonly { readonly gpu: Gpu; readonly rounded: ReadonlyMap<string, RoundedPart> }[];

/** The language part is declared first. */
const languageOf = <W>(weights: readonly W[]): W => weights[0]!;

/** The writing of a model's codes. It lets answers go first, and never fails: then nothing is kept. */
export class Keeping {
  /** Whether the codes are kept, when that is decided. */
  readonly done: Promise<boolean>;
  /** Until `done` settles. */
  running = true;
  readonly #gpu: Gpu;
  #hurried = false;
  #wake = (): void => undefined;
  #submits = -1;

  constructor(gpu: Gpu, write: (turn: () => Promise<void>) => Promise<boolean>) {
    this.#gpu = gpu;
    this.done = write(() => this.#turn())
      .catch(() => false) // a full disk, a folder that may not be written, a lost device
      .finally(() => {
        this.running = false;
      });
  }

  /** Says that nobody is going to ask anything. */
  hurry(): void {
    this.#hurried = true;
    this.#wake();
  }

  /** Resolves when nobody but this has used the GPU for a while, or since the last turn. */
  async #turn(): Promise<void> {
    while (!this.#hurried && this.#gpu.submits !== this.#submits + SUBMITS_PER_PIECE) {
      this.#submits = this.#gpu.submits - SUBMITS_PER_PIECE;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, QUIET_MS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#submits = this.#gpu.submits;
  }
}
