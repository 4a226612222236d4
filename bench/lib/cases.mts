import { TOTAL_STRIDE } from "../../src/models/fastvithd/tower.ts";
import type { FastVLMModel } from "../../src/models/fastvlm.ts";
import { FastVLM, type Result } from "../../src/node.ts";
import { inspectCheckpoint } from "../../src/pipeline/inspect.ts";
import type { LoadOptions } from "../../src/pipeline/types.ts";
import { BYTES } from "../../src/tensor/tensor.ts";
import type { Ceilings } from "./ceilings.mts";
import { floorMs } from "./ceilings.mts";
import { connectorWork, decoderWork, encoderWork, fastvithdLayers, type Storage, sumOf, type Work } from "./counts.mts";
import { type Bits, type Choice, photo, sourceOf } from "./models.mts";
import { type Spread, spread, time, warmUp } from "./stats.mts";

/** One line of the bench, small enough for a command line: it is measured in a process of its own. */
export interface Case extends Choice {
  /** Side of the square image in pixels. Default: the checkpoint's */
  readonly size?: number | undefined;
  readonly dtype?: "f32" | "f16" | undefined;
  readonly runs: number;
  readonly maxTokens: number;
  readonly prompt: string;
  /** Path of a picture. Default: one made here */
  readonly image?: string | undefined;
  /** Leaves out loading it again. */
  readonly loadOnce?: boolean | undefined;
  readonly profile?: boolean | undefined;
}

export interface Row {
  readonly key: string;
  readonly unit: "ms" | "tokens/s";
  readonly cold: number;
  readonly warm: Spread;
  /** The best that counted work and measured ceilings allow, in the row's unit; absent where nothing is counted. */
  readonly limit?: number | undefined;
  /** How near the warm median comes to the limit: 1 is at it. */
  readonly ofLimit?: number | undefined;
}

export interface Measured {
  readonly model: string;
  readonly quantize: Bits | undefined;
  readonly embeddings: Bits | undefined;
  readonly dtype: "f32" | "f16";
  readonly size: number;
  readonly runs: number;
  readonly usage: Result["usage"];
  readonly rows: readonly Row[];
  readonly work: Readonly<Record<"vision" | "projector" | "prefill" | "decode", Work>>;
  readonly gpuPeakBytes: number;
  /** Of the process; a software adapter's memory is part of it. */
  readonly hostPeakBytes: number;
  readonly profile?: readonly { readonly kernel: string; readonly runs: number; readonly ms: number }[];
}

/** Bytes of a weight of the language model, with its share of a half's scale per 32. */
const QUANTIZED = { int4: 4 / 8 + 2 / 32, int8: 1 + 2 / 32 };

/** Loads the model, asks once cold and `runs` times warm, and loads it again unless told not to. */
export async function measure(c: Case, ceilings: Ceilings): Promise<Measured> {
  const source = sourceOf(c);
  if (typeof source === "object" && "missing" in source) throw new Error(source.missing);
  const image = c.image ?? photo();
  const load = {
    dtype: c.dtype,
    imageSize: c.size,
    quantize: c.quantize,
    embeddings: c.embeddings,
    profile: c.profile,
    imageCacheBytes: 0,
    cache: false,
  };
  const options: LoadOptions = load;
  const vlm = await FastVLM.load(source, options);
  const { gpu, model } = vlm;
  const ask = async (): Promise<Result> => {
    const request = { images: [image], prompt: c.prompt, maxTokens: c.maxTokens };
    for await (const { result } of vlm.generate(request)) if (result) return result;
    throw new Error("an answer ended without a result");
  };
  const cold = await warmUp(ask);
  const warm: Result[] = [];
  for (let run = 1; run <= c.runs; run++) {
    if (run === c.runs) await gpu.profiler?.report(); // the profile shall be of the last run alone
    warm.push(await ask());
  }
  const profile = await gpu.profiler?.report();
  const { connector, tower } = model.eye!;
  const size = c.size ?? (await inspectCheckpoint(source)).vision!.imageSize;
  const side = Math.ceil(size / TOTAL_STRIDE);
  const features = gpu.empty([1, side, side, tower.config.outputChannels], model.dtype);
  const projector = await time(async () => {
    gpu.scope(() => void connector.forward(features));
    await gpu.settled();
  }, c.runs);
  gpu.release(features);
  const { peak } = gpu.memory;
  vlm.close();
  const loads = c.profile || c.loadOnce ? [] : await reload(source, options);
  const works = workOf(vlm, c, cold, size);
  return {
    model: c.name,
    quantize: c.quantize,
    embeddings: c.embeddings,
    dtype: model.dtype,
    size,
    runs: c.runs,
    usage: cold.usage,
    rows: rowsOf(cold, warm, projector, loads, works, ceilings),
    work: works,
    gpuPeakBytes: peak,
    hostPeakBytes: process.resourceUsage().maxRSS * 1024,
    ...(profile && { profile }),
  };
}

/** Loading in a process that has loaded before, in ms. */
async function reload(source: Parameters<typeof FastVLM.load>[0], options: LoadOptions): Promise<number[]> {
  const started = performance.now();
  const vlm = await FastVLM.load(source, options);
  const ms = performance.now() - started;
  vlm.close();
  return [ms];
}

/** How the language model's numbers are stored when its weights are `quantize`d or not. */
export function storageOf(dtype: "f32" | "f16", quantize?: Bits, embeddings: Bits = "int8"): Storage {
  const element = BYTES[dtype];
  const [weight, table] = quantize ? [QUANTIZED[quantize], QUANTIZED[embeddings]] : [element, element];
  return { weight, table, cache: element };
}

/** The tower's work on an image of `size` × `size` pixels. */
export function visionWork({ eye, dtype }: FastVLMModel, size: number): Work {
  const { config } = eye!.tower;
  const features = Math.ceil(size / TOTAL_STRIDE) ** 2 * config.outputChannels;
  return encoderWork(fastvithdLayers(config, size), { pixels: size ** 2, features, element: BYTES[dtype] });
}

/** What each stage had to do. */
function workOf({ model }: FastVLM, { quantize, embeddings }: Case, { usage }: Result, size: number): Measured["work"] {
  const { connector } = model.eye!;
  const { config } = model.decoder;
  const storage = storageOf(model.dtype, quantize, embeddings);
  const features = Math.ceil(size / TOTAL_STRIDE) ** 2;
  const past = usage.promptTokens + Math.floor(usage.completionTokens / 2);
  return {
    vision: visionWork(model, size),
    projector: connectorWork(connector.config, { features, tokens: usage.imageTokens, element: BYTES[model.dtype] }),
    prefill: decoderWork(config, { tokens: usage.promptTokens }, storage),
    decode: decoderWork(config, { tokens: 1, past }, storage),
  };
}

function rowsOf(
  cold: Result,
  warm: readonly Result[],
  projector: readonly number[],
  loads: readonly number[],
  work: Measured["work"],
  ceilings: Ceilings,
): Row[] {
  const limit = (...works: readonly Work[]): number => sumOf(works, (w) => floorMs(w, ceilings));
  const joined = spread(projector);
  const row = (key: string, of: (result: Result) => number, floor?: number): Row => ({
    key,
    unit: "ms",
    cold: of(cold),
    warm: spread(warm.map(of)),
    limit: floor,
  });
  const { vision, projector: connector, prefill, decode } = work;
  const rows: Row[] = [
    { ...row("load", ({ timings }) => timings.load), warm: spread(loads) },
    row("preprocess", ({ timings }) => timings.preprocess),
    row("vision", ({ timings }) => timings.vision - joined.median, limit(vision)),
    { key: "projector", unit: "ms", cold: Number.NaN, warm: joined, limit: limit(connector) },
    row("prefill", ({ timings }) => timings.prefill, limit(prefill)),
    row("first token", ({ timings }) => timings.firstToken, limit(vision, connector, prefill)),
    {
      ...row("decode", ({ timings }) => timings.decodeTokensPerSecond, 1000 / limit(decode)),
      unit: "tokens/s",
    },
  ];
  return rows.map((r) => ({
    ...r,
    ofLimit: r.limit && (r.unit === "ms" ? r.limit / r.warm.median : r.warm.median / r.limit),
  }));
}
