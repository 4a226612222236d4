import { DeviceLostError, GpuError } from "../errors.ts";
import type { ChoiceTable } from "../gpu/choices.ts";
import type { AdapterSummary } from "../gpu/device.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { shadersDigest } from "../gpu/kernel.ts";
import { tune } from "../gpu/tune.ts";

/** Where measured choices are kept: a few kilobytes of text per adapter. */
export interface TuningStore {
  /** What else decides how fast shaders are: WebGPU's implementation and its version. */
  readonly runtime: string;
  /** What was kept under this key, if anything. */
  read(key: string): Promise<string | undefined>;
  /** Replaces what was kept, as a whole or not at all. */
  write(key: string, text: string): Promise<void>;
}

/** Longest that one load measures, in milliseconds. */
const LIMIT_MS = 3000;

/** The choices measured on this adapter: read when the GPU is opened, added to when a model asks for new ones. */
export class Tuning {
  readonly #gpu: Gpu;
  readonly #store: TuningStore;
  readonly #key: string;

  private constructor(gpu: Gpu, store: TuningStore) {
    this.#gpu = gpu;
    this.#store = store;
    this.#key = tuningKey(gpu.adapter, store.runtime);
  }

  /** Reads what is kept for this adapter, and has the GPU choose by it. Undefined on software adapters, which are not tuned. */
  static async open(gpu: Gpu, store: TuningStore): Promise<Tuning | undefined> {
    if (gpu.adapter.software) return undefined;
    const tuning = new Tuning(gpu, store);
    gpu.choices.prefer(await tuning.#read());
    return tuning;
  }

  /**
   * Measures the choices that `rehearse` asks for and no table has, and keeps them.
   *
   * @returns whether anything was measured
   */
  async run(rehearse: () => Promise<void>, signal?: AbortSignal): Promise<boolean> {
    const gpu = this.#gpu;
    const questions = await gpu.choices.collect(rehearse);
    if (questions.length === 0) return false;
    try {
      const answers = await tune(gpu, questions, { limitMs: LIMIT_MS, signal });
      const table = Object.fromEntries(answers.map(({ key, chosen }) => [key, chosen]));
      gpu.choices.prefer(table);
      await gpu.profiler?.report(); // a profile is of answers
      gpu.trim();
      await this.#keep(table);
      return true;
    } catch (error) {
      // What cannot be measured is chosen as if nobody had tried; a model that runs is worth more than one that runs fastest.
      if (!(error instanceof GpuError) || error instanceof DeviceLostError) throw error;
      return false;
    }
  }

  async #keep(table: ChoiceTable): Promise<void> {
    // Another process may have kept its own meanwhile: what is kept stays, so that the same seed gives the same text.
    const choices = { ...table, ...(await this.#read()) };
    const text = JSON.stringify({ adapter: this.#key, shaders: shadersDigest(), choices }, null, 2);
    await this.#store.write(this.#key, `${text}\n`).catch(() => undefined); // a full or closed disk costs time, no answer
  }

  async #read(): Promise<ChoiceTable> {
    const text = await this.#store.read(this.#key).catch(() => undefined);
    return (text !== undefined && parseTuning(text, this.#key)) || {};
  }
}

/** What names an adapter in the store. */
export function tuningKey(adapter: AdapterSummary, runtime: string): string {
  const { vendor, architecture, device, description, f16, subgroups, subgroupMinSize, subgroupMaxSize } = adapter;
  const lanes = subgroups ? `${subgroupMinSize}-${subgroupMaxSize} lanes` : "no subgroups";
  return [vendor, architecture, device, description, f16 ? "f16" : "f32", lanes, runtime].join(" | ");
}

/** The choices in a kept text; undefined when it is damaged, of another adapter, or of other shaders. */
export function parseTuning(text: string, key: string): ChoiceTable | undefined {
  try {
    const kept: unknown = JSON.parse(text);
    if (typeof kept !== "object" || kept === null || !("choices" in kept)) return undefined;
    const { adapter, shaders, choices } = kept as { adapter?: unknown; shaders?: unknown; choices: unknown };
    if (adapter !== key || shaders !== shadersDigest()) return undefined;
    if (typeof choices !== "object" || choices === null) return undefined;
    const entries = Object.entries(choices).filter((entry): entry is [string, string] => typeof entry[1] === "string");
    return Object.fromEntries(entries);
  } catch {
    return undefined;
  }
}
