import { choice, integer, parseFlags } from "../src/cli/args.ts";
import { InputError } from "../src/errors.ts";
import { checkImageSize } from "../src/image/preprocess.ts";
import type { FastVLMModel } from "../src/models/fastvlm.ts";
import { FastVLM } from "../src/node.ts";
import { storageOf, visionWork } from "./lib/cases.mts";
import { floorMs } from "./lib/ceilings.mts";
import { decoderWork, type Storage, type Work } from "./lib/counts.mts";
import { parseModels, sourceOf } from "./lib/models.mts";
import { prefillMs, prompt, STEPS, seeMs, stepMs } from "./lib/passes.mts";
import { type Bench, nameOf, openBench, program, RESULTS, writeResult } from "./lib/program.mts";
import { type Spread, show, spread, table, warmed } from "./lib/stats.mts";
import { lineCharts } from "./lib/svg.mts";

const USAGE = `node bench/scaling.ts [options]

  --model NAME        as ttft.ts names them, or a folder. Default fastvlm-0.5b
  --sizes LIST        image sides in pixels       --tokens LIST    prompt lengths
  --contexts LIST     tokens seen before a step   --runs N         default 5, on software adapters 1
  --quantize int4|int8, --embeddings int4|int8, --dtype f32|f16, --out DIR, --no-plot`;

const FLAGS = {
  model: { type: "string" },
  sizes: { type: "string" },
  tokens: { type: "string" },
  contexts: { type: "string" },
  runs: { type: "string" },
  quantize: { type: "string" },
  embeddings: { type: "string" },
  dtype: { type: "string" },
  out: { type: "string" },
  "no-plot": { type: "boolean" },
  help: { type: "boolean" },
} as const;

const GPU = {
  sizes: [256, 512, 768, 1024, 1280, 1536],
  tokens: [64, 128, 256, 512, 1024, 2048, 4096, 8192],
  contexts: [64, 512, 1024, 2048, 4096, 8192, 16384],
};
const SOFTWARE = { sizes: [256, 512, 768], tokens: [64, 128, 256, 512], contexts: [64, 512, 1024, 2048] };

interface Point {
  readonly at: number;
  readonly ms: Spread;
  readonly work: Work;
  readonly limitMs: number;
}

/** Called by `bench/scaling.ts`. */
export const main = (args: readonly string[]): Promise<void> =>
  program(async () => {
    const { values } = parseFlags(args, FLAGS, USAGE);
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      return;
    }
    const bench = await openBench();
    const defaults = bench.adapter.software ? SOFTWARE : GPU;
    const [model] = parseModels(values.model ?? "fastvlm-0.5b", {
      quantize: choice("quantize", values.quantize, "int4", "int8"),
      embeddings: choice("embeddings", values.embeddings, "int4", "int8"),
    });
    const source = sourceOf(model!);
    if (typeof source === "object" && "missing" in source) throw new InputError(`--model: ${source.missing}`);
    const { quantize, embeddings } = model!;
    const dtype = choice("dtype", values.dtype, "f32", "f16");
    using vlm = await FastVLM.load(source, { dtype, quantize, embeddings, cache: false });
    const runs = integer("runs", values.runs, 1, 1000) ?? (bench.adapter.software ? 1 : 5);
    const limit = vlm.model.decoder.contextLimit(vlm.model.dtype) - STEPS;
    const list = (flag: "sizes" | "tokens" | "contexts"): number[] =>
      values[flag]?.split(",").map((item) => integer(flag, item, 1)!) ?? defaults[flag];
    const curves = await measure(vlm.model, storageOf(vlm.model.dtype, quantize, embeddings), bench, runs, {
      sizes: list("sizes").map(checkImageSize),
      tokens: list("tokens").filter((tokens) => tokens <= limit),
      contexts: list("contexts").filter((context) => context <= limit),
    });
    await print(bench, model!.name, curves, values["no-plot"] ? undefined : (values.out ?? RESULTS));
  });

type Curves = Readonly<Record<"vision" | "prefill" | "decode", readonly Point[]>>;

async function measure(
  model: FastVLMModel,
  storage: Storage,
  { ceilings }: Bench,
  runs: number,
  at: typeof GPU,
): Promise<Curves> {
  const { gpu, decoder, dtype } = model;
  const curve = async (places: readonly number[], work: (at: number) => Work, run: (at: number) => Promise<number>) => {
    const points: Point[] = [];
    for (const place of places) {
      const times = await warmed(() => run(place), runs);
      const counted = work(place);
      points.push({ at: place, ms: spread(times), work: counted, limitMs: floorMs(counted, ceilings) });
      gpu.trim();
    }
    return points;
  };
  const vision = model.eye
    ? await curve(
        at.sizes,
        (size) => visionWork(model, size),
        (size) => seeMs(model, size),
      )
    : [];
  const cache = decoder.cache(0, dtype);
  const prefill = await curve(
    at.tokens,
    (tokens) => decoderWork(decoder.config, { tokens }, storage),
    async (tokens) => {
      const x = prompt(model, tokens);
      const ms = await prefillMs(model, cache, x);
      gpu.release(x);
      return ms;
    },
  );
  const one = prompt(model, 1);
  const decode = await curve(
    at.contexts,
    (past) => decoderWork(decoder.config, { tokens: 1, past }, storage),
    (past) => stepMs(model, cache, past, one),
  );
  gpu.release(one);
  cache.free();
  return { vision, prefill, decode };
}

async function print({ adapter, ceilings, load }: Bench, model: string, curves: Curves, out: string | undefined) {
  const heads = { vision: "image side, pixels", prefill: "tokens", decode: "context, tokens" };
  const charts = [];
  for (const [name, points] of Object.entries(curves)) {
    if (points.length === 0) continue;
    const rows = points.map(({ at, ms, work, limitMs }) => {
      const share = `${((100 * limitMs) / ms.median).toFixed(0)} %`;
      return [String(at), show(ms.median), show(work.flops / 1e9), show(work.bytes / 1e6), show(limitMs), share];
    });
    const x = heads[name as keyof typeof heads];
    process.stdout.write(`\n${name}\n${table([[x, "ms", "GFLOP", "MB", "limit, ms", "of limit"], ...rows])}`);
    charts.push({
      title: name === "decode" ? "decode, per token" : name,
      x,
      y: "milliseconds",
      series: [
        { name: "measured, median", points: points.map(({ at, ms }) => [at, ms.median] as const) },
        { name: "limit by counted work", points: points.map((p) => [p.at, p.limitMs] as const), dashed: true },
      ],
    });
  }
  const json = JSON.stringify({
    bench: "scaling",
    date: new Date().toISOString(),
    adapter,
    ceilings,
    load,
    model,
    curves,
  });
  process.stdout.write(`\n${json}\n`);
  if (out === undefined) return;
  await writeResult(out, "scaling.json", `${json}\n`);
  await writeResult(out, "scaling.svg", lineCharts(`${model.split(/[\\/]/).at(-1)} on ${nameOf(adapter)}`, charts));
}
