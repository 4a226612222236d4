import { encodeSafetensors, type OutputTensor } from "../../weights/safetensors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Collects the intermediate results of one run under the names PyTorch's modules have, for comparison.
 *
 * A stage that runs once per image or step is stacked along its first axis. Feature maps are written [B, C, H, W].
 */
export class Trace {
  readonly #gpu: Gpu;
  readonly #stages = new Map<string, Tensor[]>();
  readonly #tokens: number[] = [];

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** Records every stage until `stop` or until another set of names is chosen. */
  record(wanted: (name: string) => boolean = () => true): void {
    this.#gpu.recorder = (name, tensor) => {
      if (!wanted(name)) return;
      const copies = this.#stages.get(name) ?? [];
      this.#stages.set(name, copies);
      copies.push(this.#gpu.keep(tensor));
    };
  }

  stop(): void {
    this.#gpu.recorder = null;
  }

  /**
   * Records the stages of what `body` does, and nothing of what others do before and after.
   *
   * @param only the one stage that is recorded. Default: all
   */
  during(body: () => void, only?: string): void {
    const before = this.#gpu.recorder;
    this.record((name) => only === undefined || name === only);
    try {
      body();
    } finally {
      this.#gpu.recorder = before;
    }
  }

  token(id: number): void {
    this.#tokens.push(id);
  }

  /** Reads everything back as f32 by name, and forgets it. */
  async collect(): Promise<Record<string, { shape: number[]; data: Float32Array<ArrayBuffer> }>> {
    const result: Record<string, { shape: number[]; data: Float32Array<ArrayBuffer> }> = {};
    for (const [name, copies] of this.#stages) {
      const [first] = copies;
      const data = new Float32Array(copies.reduce((sum, copy) => sum + copy.size, 0));
      const rows = copies.reduce((sum, copy) => sum + (copy.shape[0] ?? 1), 0);
      let at = 0;
      for (let copy = copies[0]; copy; copy = copies[0]) {
        data.set(await this.#gpu.read(copy), at);
        at += copy.size;
        copies.shift(); // before anything can fail: what is still listed is released by `discard`
        this.#gpu.release(copy);
      }
      const shape = [rows, ...first!.shape.slice(1)];
      result[name] = shape.length === 4 ? channelsFirst(shape, data) : { shape, data };
    }
    this.#stages.clear();
    return result;
  }

  /** The trace as a safetensors file: every stage, the logits of every step, and the tokens. */
  async encode(): Promise<Uint8Array<ArrayBuffer>> {
    const tensors: Record<string, OutputTensor> = {};
    for (const [name, { shape, data }] of Object.entries(await this.collect()))
      tensors[name] = { dtype: "F32", shape, data };
    const tokens = BigInt64Array.from(this.#tokens, BigInt);
    tensors.greedy_tokens = { dtype: "I64", shape: [tokens.length], data: tokens };
    return encodeSafetensors(tensors, { format: "pt" });
  }

  /** Frees what was recorded and never collected. */
  discard(): void {
    this.stop();
    for (const copy of [...this.#stages.values()].flat()) this.#gpu.release(copy);
    this.#stages.clear();
  }
}

/** [B, H, W, C] → [B, C, H, W] */
function channelsFirst(
  shape: readonly number[],
  data: Float32Array,
): { shape: number[]; data: Float32Array<ArrayBuffer> } {
  const [B = 1, H = 1, W = 1, C = 1] = shape;
  const out = new Float32Array(data.length);
  for (let b = 0; b < B; b++) {
    for (let p = 0; p < H * W; p++) {
      for (let c = 0; c < C; c++) out[(b * C + c) * H * W + p] = data[(b * H * W + p) * C + c]!;
    }
  }
  return { shape: [B, C, H, W], data: out };
}
