import { performance } from "node:perf_hooks";
import { choice, integer, parseFlags } from "../src/cli/args.ts";
import { sourceOf } from "../src/cli/generate.ts";
import { FastVLMError, InputError } from "../src/errors.ts";
import { FastVLM } from "../src/node.ts";
import type { Result } from "../src/pipeline/types.ts";

const USAGE =
  "node bench/ttft.ts --model DIR --image FILE [--prompt TEXT] [--runs N] [--max-tokens N] [--dtype f32|f16] [--json]";
const FLAGS = {
  model: { type: "string" },
  image: { type: "string" },
  prompt: { type: "string" },
  runs: { type: "string" },
  "max-tokens": { type: "string" },
  dtype: { type: "string" },
  "image-size": { type: "string" },
  json: { type: "boolean" },
} as const;

/** Times one question again and again; the first run is cold, the table shows the median of the others. */
async function bench(args: readonly string[]): Promise<void> {
  const { values } = parseFlags(args, FLAGS, USAGE);
  if (values.image === undefined) throw new InputError("--image: expected a picture, got none", { hint: USAGE });
  const runs = integer("runs", values.runs, 1, 1000) ?? 5;
  const options = {
    dtype: choice("dtype", values.dtype, "f32", "f16"),
    imageSize: integer("image-size", values["image-size"], 64),
    imageCacheBytes: 0, // every run looks at the picture anew
  };
  using vlm = await FastVLM.load(sourceOf(values), options);
  const results: Result[] = [];
  for (let run = 0; run <= runs; run++) {
    const request = {
      images: [values.image],
      prompt: values.prompt ?? "Describe the picture.",
      maxTokens: integer("max-tokens", values["max-tokens"], 1) ?? 32,
    };
    for await (const { result } of vlm.generate(request)) if (result) results.push(result);
  }
  const [cold, ...warm] = results as [Result, ...Result[]];
  const keys = ["load", "preprocess", "vision", "prefill", "firstToken", "decodeTokensPerSecond"] as const;
  const rows = keys.map((key) => {
    const sorted = warm.map(({ timings }) => timings[key]).sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
    return { key, cold: cold.timings[key], median: at(0.5), p10: at(0.1), p90: at(0.9) };
  });
  const { rss } = process.memoryUsage();
  if (values.json) {
    const { adapter, usage } = cold;
    process.stdout.write(
      `${JSON.stringify({ adapter, usage, runs, timings: rows, gpuPeakBytes: vlm.gpu.memory.peak, rssBytes: rss, timeOrigin: performance.timeOrigin })}\n`,
    );
    return;
  }
  process.stdout.write(
    `${cold.adapter.description}${cold.adapter.software ? " (software)" : ""}: ${cold.usage.promptTokens} prompt tokens, ${cold.usage.imageTokens} of them image\n`,
  );
  process.stdout.write(
    `${"".padEnd(24)}${["cold", "median", "p10", "p90"].map((head) => head.padStart(12)).join("")}\n`,
  );
  for (const { key, ...numbers } of rows) {
    const label = key === "decodeTokensPerSecond" ? "decode, tokens/s" : `${key}, ms`;
    process.stdout.write(
      `${label.padEnd(24)}${Object.values(numbers)
        .map((n) => n.toFixed(1).padStart(12))
        .join("")}\n`,
    );
  }
  process.stdout.write(
    `GPU memory peak ${(vlm.gpu.memory.peak / 2 ** 20).toFixed(0)} MiB, resident ${(rss / 2 ** 20).toFixed(0)} MiB\n`,
  );
}

/** Runs the bench; called by `bench/ttft.ts`. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    await bench(args);
  } catch (error) {
    if (!(error instanceof FastVLMError)) throw error;
    process.stderr.write(`error: ${error.message}\n${error.hint ? `hint:  ${error.hint}\n` : ""}`);
    process.exitCode = 2;
  }
}
