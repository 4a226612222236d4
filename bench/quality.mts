// What rounding costs: `node bench/quality.mts --model DIR [--prompts FILE]`. The same texts go through the model as it is and
// through the model in few bits, and the next-token distributions at every place are compared. `fastvlm quantize --errors` tells
// the error of every matrix.
import { readFileSync } from "node:fs";
import { choice, parseFlags } from "../src/cli/args.ts";
import { InputError } from "../src/errors.ts";
import { FastVLM } from "../src/node.ts";
import type { LoadOptions } from "../src/pipeline/types.ts";
import { program } from "./lib/program.mts";

const USAGE = "node bench/quality.mts --model DIR [--prompts FILE, one text a line] [--dtype f32|f16] [--json]";

const FORMATS: readonly Pick<LoadOptions, "quantize" | "embeddings">[] = [
  { quantize: "int8" },
  { quantize: "int4-affine" },
  { quantize: "int4" },
  { quantize: "int4", embeddings: "int4" },
];
/** Places of a text that are compared, and at most at once: logits of a place are a megabyte. */
const PLACES = 48;
const AT_ONCE = 16;

const TEXTS = [
  "The quick brown fox jumps over the lazy dog, and then it looks back to see whether the dog has noticed.",
  "Water boils at a lower temperature in the mountains because the pressure of the air is lower there.",
  "In the picture there is a red bicycle leaning against a brick wall, next to a green door with a brass handle.",
  "function add(a, b) { return a + b; } // The sum of two numbers, or two strings one after the other",
  "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89: every number is the sum of the two before it.",
];

/** Log probabilities [places, V] of the next token at each of the first places of every text. */
async function distributions(
  model: string,
  texts: readonly string[],
  dtype: "f32" | "f16",
  rounding: Pick<LoadOptions, "quantize" | "embeddings"> = {},
): Promise<Float32Array[]> {
  using vlm = await FastVLM.load(model, { dtype, ...rounding });
  const { gpu } = vlm;
  const { decoder } = vlm.model;
  decoder.rope.table(PLACES);
  const result: Float32Array[] = [];
  for (const text of texts) {
    const ids = Uint32Array.from(vlm.tokenizer.encode(text).slice(0, PLACES));
    const cache = decoder.cache(ids.length, dtype);
    const uploaded = gpu.upload([ids.length], "u32", ids);
    const hidden = gpu.scope(() => gpu.keep(decoder.forward(decoder.embed(uploaded), cache)));
    for (let from = 0; from < ids.length; from += AT_ONCE) {
      const to = Math.min(ids.length, from + AT_ONCE);
      const logits = gpu.scope(() => gpu.keep(decoder.logits(hidden.rows(from, to))));
      const data = await gpu.read(logits);
      gpu.release(logits);
      const V = data.length / (to - from);
      for (let row = 0; row < to - from; row++) result.push(logSoftmax(data.slice(row * V, (row + 1) * V)));
    }
    cache.free();
    gpu.release(uploaded);
    gpu.release(hidden);
  }
  return result;
}

function logSoftmax(logits: Float32Array): Float32Array {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, x) => total + Math.exp(x - most), 0);
  return logits.map((x) => x - most - Math.log(sum));
}

/** Σ p · (log p − log q), in nats. */
const divergence = (p: Float32Array, q: Float32Array): number =>
  p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - q[i]!), 0);

const likeliest = (p: Float32Array): number => p.reduce((best, x, i) => (x > p[best]! ? i : best), 0);

async function compare(model: string, texts: readonly string[], dtype: "f32" | "f16", asJson: boolean): Promise<void> {
  const exact = await distributions(model, texts, dtype);
  const rows = [];
  for (const { quantize: format, embeddings = "int8" } of FORMATS) {
    const rounded = await distributions(model, texts, dtype, { quantize: format, embeddings });
    const kl = exact.map((p, i) => divergence(p, rounded[i]!));
    const same = exact.filter((p, i) => likeliest(p) === likeliest(rounded[i]!)).length;
    const sorted = [...kl].sort((a, b) => a - b);
    const mean = kl.reduce((a, b) => a + b, 0) / kl.length;
    const p99 = sorted[Math.floor(0.99 * (sorted.length - 1))]!;
    rows.push({
      format,
      embeddings,
      places: kl.length,
      meanDivergence: mean,
      p99Divergence: p99,
      sameTop1: same / kl.length,
    });
  }
  if (asJson) console.log(JSON.stringify({ model, rows }));
  else {
    console.log(`${model}: ${exact.length} places in ${texts.length} texts`);
    for (const { format, embeddings, meanDivergence, p99Divergence, sameTop1 } of rows) {
      console.log(
        `${`${format}, embeddings ${embeddings}`.padEnd(30)} KL divergence ${meanDivergence.toFixed(4)} nats, 99th percentile ${p99Divergence.toFixed(4)}; same first choice ${(sameTop1 * 100).toFixed(1)} %`,
      );
    }
  }
}

const FLAGS = {
  model: { type: "string" },
  prompts: { type: "string" },
  dtype: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;

await program(async () => {
  const { values } = parseFlags(process.argv.slice(2), FLAGS, USAGE);
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  if (values.model === undefined) throw new InputError("--model is missing", { hint: USAGE });
  const texts = values.prompts ? readFileSync(values.prompts, "utf8").split("\n").filter(Boolean) : TEXTS;
  await compare(values.model, texts, choice("dtype", values.dtype, "f32", "f16") ?? "f32", values.json === true);
});
