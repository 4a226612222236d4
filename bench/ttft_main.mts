import { freemem } from "node:os";
import { choice, integer, parseFlags } from "../src/cli/args.ts";
import { InputError } from "../src/errors.ts";
import { checkImageSize } from "../src/image/preprocess.ts";
import { type Case, type Measured, measure } from "./lib/cases.mts";
import type { Ceilings } from "./lib/ceilings.mts";
import { type Choice, parseModels, sourceOf, weightBytes } from "./lib/models.mts";
import { type Bench, inProcess, nameOf, openBench, program, RESULTS, writeResult } from "./lib/program.mts";
import { show, table } from "./lib/stats.mts";
import { barChart } from "./lib/svg.mts";

const USAGE = `node bench/ttft.ts [options]

  --models LIST       tiny, fastvlm-0.5b, fastvlm-1.5b, fastvlm-phi-4-mini, fastvlm-phi-4, or folders; ":int4" or ":int8"
                      after a name quantises it. Default: all that suit the adapter
  --model DIR         only this checkpoint
  --sizes LIST        sides of the square image in pixels. Default 512,1024; the embedded checkpoint has its own
  --runs N            warm runs. Default 10, on software adapters 2
  --quantize int4|int8, and --embeddings int4|int8 for the embedding and the head (default int8)
  --dtype f32|f16, --image FILE, --prompt TEXT, --max-tokens N
  --load-once         leaves out the warm loading, which for the largest models takes minutes
  --profile           GPU time per kernel of one answer
  --out DIR           where the plot and the JSON go. Default bench/results
  --no-plot           no files, the table only`;

const FLAGS = {
  models: { type: "string" },
  model: { type: "string" },
  sizes: { type: "string" },
  runs: { type: "string" },
  quantize: { type: "string" },
  embeddings: { type: "string" },
  dtype: { type: "string" },
  image: { type: "string" },
  prompt: { type: "string" },
  "max-tokens": { type: "string" },
  "load-once": { type: "boolean" },
  profile: { type: "boolean" },
  out: { type: "string" },
  "no-plot": { type: "boolean" },
  help: { type: "boolean" },
  case: { type: "string" },
} as const;

const GPU_MODELS = "tiny,fastvlm-0.5b,fastvlm-1.5b,fastvlm-phi-4-mini,fastvlm-phi-4:int4";
const SOFTWARE_MODELS = "tiny,fastvlm-0.5b";

/** Called by `bench/ttft.ts`. */
export const main = (args: readonly string[]): Promise<void> =>
  program(async () => {
    const { values } = parseFlags(args, FLAGS, USAGE);
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
    } else if (values.case !== undefined) {
      const { ceilings, ...c } = JSON.parse(values.case) as Case & { ceilings: Ceilings };
      process.stdout.write(`${JSON.stringify(await measure(c, ceilings))}\n`);
    } else {
      const bench = await openBench();
      await run(bench, casesOf(values, bench.adapter.software), values.out ?? RESULTS, values["no-plot"] !== true);
    }
  });

type Values = ReturnType<typeof parseFlags<typeof FLAGS>>["values"];

function casesOf(values: Values, software: boolean): Case[] {
  if (values.model !== undefined && values.models !== undefined) {
    throw new InputError("--model: expected either --model or --models, got both");
  }
  const models = values.model ?? values.models ?? (software ? SOFTWARE_MODELS : GPU_MODELS);
  const sizes = values.sizes?.split(",").map((size) => checkImageSize(Number(size)));
  const common = {
    dtype: choice("dtype", values.dtype, "f32", "f16"),
    runs: integer("runs", values.runs, 1, 1000) ?? (software ? 2 : 10),
    maxTokens: integer("max-tokens", values["max-tokens"], 1) ?? (software ? 8 : 64),
    prompt: values.prompt ?? "Describe the picture.",
    image: values.image,
    loadOnce: values["load-once"],
    profile: values.profile,
  };
  const rounding = {
    quantize: choice("quantize", values.quantize, "int4", "int8"),
    embeddings: choice("embeddings", values.embeddings, "int4", "int8"),
  };
  return parseModels(models, rounding).flatMap((model) => {
    const own = model.name === "tiny" ? [undefined] : [512, 1024];
    return (sizes ?? own).map((size): Case => ({ ...model, ...common, size }));
  });
}

const titleOf = ({ name, quantize, embeddings }: Choice): string =>
  `${name.split(/[\\/]/).at(-1)}${quantize ? ` ${quantize}` : ""}${embeddings ? ` (embeddings ${embeddings})` : ""}`;

async function run(
  { adapter, ceilings, load }: Bench,
  cases: readonly Case[],
  out: string,
  plot: boolean,
): Promise<void> {
  const measured: Measured[] = [];
  const skipped: { model: string; reason: string }[] = [];
  const skip = (c: Case, reason: string): void => {
    skipped.push({ model: titleOf(c), reason });
    process.stdout.write(`\n${titleOf(c)}: skipped, ${reason}\n`);
  };
  for (const c of cases) {
    const source = sourceOf(c);
    if (typeof source === "object" && "missing" in source) {
      skip(c, source.missing);
      continue;
    }
    // A GPU says so itself when its memory is full; a software adapter would take the machine down with it.
    const needed = await weightBytes(source, c.dtype, c.quantize);
    if (adapter.software && needed > 0.7 * freemem()) {
      skip(c, `${show(needed / 2 ** 30)} GiB of weights do not fit in ${show(freemem() / 2 ** 30)} GiB of free memory`);
      continue;
    }
    const result = await inProcess<Measured>("ttft.ts", { ...c, ceilings });
    if ("failed" in result) skip(c, result.failed);
    else {
      measured.push(result);
      process.stdout.write(`\n${report(result)}`);
    }
  }
  const name = nameOf(adapter);
  const json = JSON.stringify({
    bench: "ttft",
    date: new Date().toISOString(),
    adapter,
    ceilings,
    load,
    measured,
    skipped,
  });
  process.stdout.write(`\n${json}\n`);
  if (!plot || measured.length === 0) return;
  await writeResult(out, "ttft.json", `${json}\n`);
  await writeResult(out, "ttft.svg", chart(name, measured));
}

function report({
  model,
  quantize,
  embeddings,
  dtype,
  size,
  usage,
  rows,
  gpuPeakBytes,
  hostPeakBytes,
  profile,
}: Measured): string {
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const lines = rows.map(({ key, unit, cold, warm, limit, ofLimit }) => {
    const cells = [cold, warm.median, warm.p10, warm.p90, limit ?? Number.NaN].map(show);
    return [`${key}, ${unit}`, ...cells, ofLimit === undefined ? "–" : `${(100 * ofLimit).toFixed(0)} %`];
  });
  const kernels = (profile ?? []).slice(0, 16).map(({ kernel, runs, ms }) => [kernel, String(runs), show(ms)]);
  return [
    `${titleOf({ name: model, quantize, embeddings })}, ${dtype}, ${size} × ${size}: ${usage.promptTokens} tokens in the prompt, ${usage.imageTokens} of them image\n`,
    table([["", "cold", "median", "p10", "p90", "limit", "of limit"], ...lines]),
    `peak memory: GPU ${mib(gpuPeakBytes)}, process ${mib(hostPeakBytes)}\n`,
    kernels.length > 0 ? table([["kernel", "runs", "ms"], ...kernels]) : "",
  ].join("");
}

function chart(adapter: string, measured: readonly Measured[]): string {
  const median = ({ rows }: Measured, key: string): number => rows.find((row) => row.key === key)!.warm.median;
  return barChart({
    title: `Time to first token on ${adapter}`,
    axis: "milliseconds, median of warm runs",
    mark: "limit by counted work",
    bars: measured.map((m) => ({
      label: `${titleOf({ ...m, name: m.model })}, ${m.size}²`,
      parts: ["preprocess", "vision", "projector", "prefill"].map((name) => ({ name, value: median(m, name) })),
      mark: m.rows.find(({ key }) => key === "first token")!.limit!,
      note: `${show(median(m, "first token"))} ms, then ${show(median(m, "decode"))} tokens/s`,
    })),
  });
}
