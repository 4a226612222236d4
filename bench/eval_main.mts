import { fileURLToPath } from "node:url";
import { choice, integer, parseFlags } from "../src/cli/args.ts";
import { sourceOf } from "../src/cli/model.ts";
import { FastVLM } from "../src/node.ts";
import { type Answered, answerCase, readCases, scores } from "./accuracy.mts";
import { nameOf, program } from "./lib/program.mts";

const USAGE = "node bench/eval.ts [--model DIR] [--set DIR] [--cases N] [--dtype f32|f16] [--wrong] [--json]";
const FLAGS = {
  model: { type: "string" },
  set: { type: "string" },
  cases: { type: "string" },
  dtype: { type: "string" },
  wrong: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Answers the held-out set with this engine and prints accuracy per task, and agreement with PyTorch. */
async function evaluate(args: readonly string[]): Promise<void> {
  const { values } = parseFlags(args, FLAGS, USAGE);
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  const folder = values.set ?? here("../test/eval");
  const cases = await readCases(folder);
  const chosen = cases.slice(0, integer("cases", values.cases, 1) ?? cases.length);
  const source = values.model === undefined ? here("../weights/fastvlm-tiny") : sourceOf(values);
  using vlm = await FastVLM.load(source, { dtype: choice("dtype", values.dtype, "f32", "f16") });
  const answered: Answered[] = [];
  const started = performance.now();
  for (const [i, each] of chosen.entries()) {
    answered.push(...(await answerCase(vlm, folder, each)));
    if (process.stderr.isTTY) process.stderr.write(`\r${i + 1} of ${chosen.length}`);
  }
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  const seconds = (performance.now() - started) / 1000;
  const { adapter } = vlm.gpu;
  const table = scores(answered);
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ adapter, dtype: vlm.model.dtype, seconds, scores: table })}\n`);
    return;
  }
  if (values.wrong) {
    for (const { images, question, answer, engine } of answered.filter((turn) => turn.engine !== turn.answer)) {
      process.stdout.write(`${images.join(" ")}: ${question}\n  right: ${answer}\n  given: ${engine}\n`);
    }
  }
  process.stdout.write(
    `${"task".padEnd(12)}${"questions".padStart(10)}${"right".padStart(10)}${"as PyTorch".padStart(12)}\n`,
  );
  for (const { task, questions, right, asPyTorch } of table) {
    const percent = (count: number): string => `${((100 * count) / questions).toFixed(1)} %`;
    process.stdout.write(
      `${task.padEnd(12)}${String(questions).padStart(10)}${percent(right).padStart(10)}${percent(asPyTorch).padStart(12)}\n`,
    );
  }
  process.stdout.write(`${nameOf(adapter)}, ${vlm.model.dtype}, ${seconds.toFixed(0)} s\n`);
}

/** @param args command line after the program's name */
export const main = (args: readonly string[]): Promise<void> => program(() => evaluate(args));
