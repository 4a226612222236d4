import { choice, integer, parseFlags } from "../src/cli/args.ts";
import { FASTVITHD } from "../src/models/fastvithd/config.ts";
import type { FastVLMModel } from "../src/models/fastvlm.ts";
import { FastVLM } from "../src/node.ts";
import { randomFolder } from "../test/random_folder.ts";
import { OneVisionEye } from "./baseline/llava_onevision.mts";
import { gridOf, SO400M } from "./baseline/siglip.mts";
import { storageOf } from "./lib/cases.mts";
import { decoderWork, fastvithdLayers, siglipLayers, sumOf } from "./lib/counts.mts";
import { fitGrowth } from "./lib/fit.mts";
import { noise, prefillMs, prompt, seeMs } from "./lib/passes.mts";
import { type Bench, nameOf, openBench, program, RESULTS, writeResult } from "./lib/program.mts";
import { show, spread, table, warmed } from "./lib/stats.mts";
import { barChart } from "./lib/svg.mts";

const USAGE = `node bench/headline.ts [options]

Time to first token of FastVLM-0.5B and of LLaVA-OneVision-0.5B's shape, random weights, in this engine.

  --tiles N           tiles the baseline's encoder really runs, of 10. Default 10, on software adapters 1
  --prefill LIST      prompt lengths the baseline's language model really runs. Default all 7,290 image tokens and the
                      question; on software adapters 384,768,1536
  --runs N            default 5, on software adapters 1
  --dtype f32|f16, --out DIR, --no-plot`;

const FLAGS = {
  tiles: { type: "string" },
  prefill: { type: "string" },
  runs: { type: "string" },
  dtype: { type: "string" },
  out: { type: "string" },
  "no-plot": { type: "boolean" },
  help: { type: "boolean" },
} as const;

/** The base picture and 3 × 3 parts of it. */
const TILES = 10;
/** Tokens of system prompt, question and markup, the same for both. */
const TEXT_TOKENS = 32;
const IMAGE_SIZE = 1024;
/** LLaVA-OneVision deletes SigLIP's last layer and its pooling head (LLaVA-NeXT, llava/model/multimodal_encoder/siglip_encoder.py). */
const BASELINE = { ...SO400M, layers: SO400M.layers - 1 };
/** Of the published tower, its pooling head included. */
const SIGLIP_PARAMETERS = 428_225_600;
/** The abstract of arXiv 2412.13303, against LLaVA-OneVision at 1152 × 1152 pixels with the same language model. */
const PAPER = { speedUp: 85, encoderRatio: 3.4 };

interface Side {
  readonly encoderParameters: number;
  readonly imageTokens: number;
  /** Encoder and projector, all tiles. */
  readonly visionMs: number;
  readonly prefillMs: number;
  readonly flops: number;
}

/** Called by `bench/headline.ts`. */
export const main = (args: readonly string[]): Promise<void> =>
  program(async () => {
    const { values } = parseFlags(args, FLAGS, USAGE);
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      return;
    }
    const bench = await openBench();
    const { software } = bench.adapter;
    const runs = integer("runs", values.runs, 1, 1000) ?? (software ? 1 : 5);
    const tiles = integer("tiles", values.tiles, 1, TILES) ?? (software ? 1 : TILES);
    const whole = TILES * gridOf(BASELINE) ** 2 + TEXT_TOKENS;
    const lengths = values.prefill?.split(",").map((item) => integer("prefill", item, 1, whole)!);
    const dtype = choice("dtype", values.dtype, "f32", "f16");
    using vlm = await FastVLM.load(randomFolder("fastvlm-0.5b"), { dtype });
    const ours = await measureFastVlm(vlm.model, runs);
    const baseline = await measureBaseline(vlm.model, runs, tiles, lengths ?? (software ? [384, 768, 1536] : [whole]));
    await print(bench, { ours, ...baseline }, values["no-plot"] ? undefined : (values.out ?? RESULTS));
  });

const median = async (runs: number, pass: () => Promise<number>): Promise<number> =>
  spread(await warmed(pass, runs)).median;

async function prefillMedian(model: FastVLMModel, tokens: number, runs: number): Promise<number> {
  const cache = model.decoder.cache(tokens, model.dtype);
  const x = prompt(model, tokens);
  const ms = await median(runs, () => prefillMs(model, cache, x));
  model.gpu.release(x);
  cache.free();
  model.gpu.trim();
  return ms;
}

async function measureFastVlm(model: FastVLMModel, runs: number): Promise<Side> {
  const layers = fastvithdLayers(FASTVITHD, IMAGE_SIZE);
  const imageTokens = model.imageTokens(IMAGE_SIZE, IMAGE_SIZE);
  const visionMs = await median(runs, () => seeMs(model, IMAGE_SIZE));
  model.gpu.trim();
  return {
    encoderParameters: sumOf(layers, ({ parameters }) => parameters),
    imageTokens,
    visionMs,
    prefillMs: await prefillMedian(model, imageTokens + TEXT_TOKENS, runs),
    flops: 2 * sumOf(layers, ({ macs }) => macs) + prefillFlops(model, imageTokens + TEXT_TOKENS),
  };
}

const prefillFlops = ({ decoder, dtype }: FastVLMModel, tokens: number): number =>
  decoderWork(decoder.config, { tokens }, storageOf(dtype, undefined)).flops;

/** What was run of the baseline, and what that makes of the whole. */
interface Baseline {
  readonly baseline: Side;
  readonly tiles: number;
  readonly prefills: readonly { readonly tokens: number; readonly ms: number }[];
  readonly extrapolated: boolean;
}

async function measureBaseline(
  model: FastVLMModel,
  runs: number,
  tiles: number,
  lengths: readonly number[],
): Promise<Baseline> {
  const { gpu, decoder, dtype } = model;
  const eye = await OneVisionEye.random(gpu, BASELINE, decoder.config.hiddenSize, dtype);
  const imageTokens = TILES * eye.tokensPerTile;
  const patchSize = 3 * BASELINE.patch ** 2;
  const visionMs = await median(runs, async () => {
    const patches = gpu.upload(
      [tiles, eye.tokensPerTile, patchSize],
      dtype,
      noise(tiles * eye.tokensPerTile * patchSize, dtype),
    );
    await gpu.settled();
    const started = performance.now();
    gpu.scope(() => void eye.forward(patches));
    await gpu.settled();
    const ms = performance.now() - started;
    gpu.release(patches);
    return ms;
  });
  gpu.trim();
  const prefills: { tokens: number; ms: number }[] = [];
  for (const tokens of lengths) prefills.push({ tokens, ms: await prefillMedian(model, tokens, runs) });
  const whole = imageTokens + TEXT_TOKENS;
  const longest = prefills.find(({ tokens }) => tokens === whole);
  const flops = 2 * TILES * sumOf(siglipLayers(BASELINE), ({ macs }) => macs) + prefillFlops(model, whole);
  return {
    baseline: {
      encoderParameters: SIGLIP_PARAMETERS,
      imageTokens,
      visionMs: (visionMs * TILES) / tiles,
      prefillMs: longest?.ms ?? fitGrowth(prefills.map(({ tokens, ms }) => [tokens, ms] as const))(whole),
      flops,
    },
    tiles,
    prefills,
    extrapolated: tiles < TILES || !longest,
  };
}

async function print(
  { adapter, ceilings, load }: Bench,
  result: Baseline & { readonly ours: Side },
  out: string | undefined,
): Promise<void> {
  const { ours, baseline, tiles, prefills, extrapolated } = result;
  const total = (side: Side): number => side.visionMs + side.prefillMs;
  const line = (what: string, of: (side: Side) => number): string[] => {
    const [a, b] = [of(ours), of(baseline)];
    return [what, show(a), show(b), `${show(b / a)} ×`];
  };
  const speedUp = total(baseline) / total(ours);
  process.stdout.write(
    `\n${table([
      ["", "FastVLM-0.5B", "LLaVA-OneVision-0.5B", "ratio"],
      line("encoder, million parameters", (side) => side.encoderParameters / 1e6),
      line("image tokens", (side) => side.imageTokens),
      line("counted work, TFLOP", (side) => side.flops / 1e12),
      line("vision and projector, ms", (side) => side.visionMs),
      line("prefill, ms", (side) => side.prefillMs),
      line("time to first token, ms", total),
    ])}`,
  );
  const encoders = baseline.encoderParameters / ours.encoderParameters;
  process.stdout.write(
    `\nFirst token ${extrapolated ? "about " : ""}${show(speedUp)} times as soon (the paper: ${PAPER.speedUp}), encoder ${show(encoders)} times smaller (the paper: ${PAPER.encoderRatio}).\n`,
  );
  if (extrapolated) {
    const ran = prefills.map(({ tokens, ms }) => `${tokens} in ${show(ms)} ms`).join(", ");
    process.stdout.write(
      `The baseline's times are extrapolated: ${tiles} of ${TILES} tiles ran, taken in proportion, and prompts of ${ran}, continued to ${baseline.imageTokens + TEXT_TOKENS} by a·T + b·T².\n`,
    );
  }
  process.stdout.write(`${DIFFERENCES}\n`);
  const json = JSON.stringify({
    bench: "headline",
    date: new Date().toISOString(),
    adapter,
    ceilings,
    load,
    ...result,
  });
  process.stdout.write(`\n${json}\n`);
  if (out === undefined) return;
  await writeResult(out, "headline.json", `${json}\n`);
  const bar = (label: string, side: Side, note = "") => ({
    label,
    parts: [
      { name: "vision and projector", value: side.visionMs / 1000 },
      { name: "prefill", value: side.prefillMs / 1000 },
    ],
    note: `${show(total(side) / 1000)} s${note}`,
  });
  const chart = barChart({
    title: `Time to first token on ${nameOf(adapter)}`,
    axis: "seconds",
    bars: [
      bar("FastVLM-0.5B", ours, `, ${show(speedUp)} times as soon`),
      bar("LLaVA-OneVision-0.5B", baseline, extrapolated ? ", in part extrapolated" : ""),
    ],
  });
  await writeResult(out, "headline.svg", chart);
}

const DIFFERENCES =
  "What differs from the paper: its times are of trained models on other hardware and software; here both shapes have random " +
  "weights and run on the same kernels of this engine, so that the ratio follows the counted work, and neither side counts reading " +
  "and cutting the picture. The baseline's encoder runs without SigLIP's last layer and pooling head, as LLaVA-OneVision's does " +
  "(its parameters are those of the published SigLIP), and no row-end tokens are added.";
