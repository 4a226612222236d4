import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { integer, parseFlags } from "../../src/cli/args.ts";
import { InputError } from "../../src/errors.ts";
import { checkImageSize } from "../../src/image/preprocess.ts";
import { inProcess, openBench, program, RESULTS, writeResult } from "../lib/program.mts";
import { show, table } from "../lib/stats.mts";
import { ENGINES, type Engine, type Job, measureEngine, type Task } from "./engines.mts";

const USAGE = `node bench/peers/run.ts [options]

ONNX Runtime's WebGPU (in Node, and its web build on Node's WebGPU) and CPU against this engine: FastViTHD with random weights,
and the language model of FastVLM-0.5B in int4. Installs onnxruntime-node and onnxruntime-web in bench/peers the first time.

  --engines LIST     of ${ENGINES.join(", ")}. Default all
  --size N           side of the image in pixels. Default 512
  --tokens N         length of the prompt; the step comes after as many. Default 256
  --runs N           default 5, on software adapters 1
  --out DIR, --no-files`;

const FLAGS = {
  engines: { type: "string" },
  size: { type: "string" },
  tokens: { type: "string" },
  runs: { type: "string" },
  out: { type: "string" },
  "no-files": { type: "boolean" },
  help: { type: "boolean" },
  case: { type: "string" },
} as const;

/** Called by `bench/peers/run.ts`. */
export const main = (args: readonly string[]): Promise<void> =>
  program(async () => {
    const { values } = parseFlags(args, FLAGS, USAGE);
    if (values.case !== undefined) {
      const result = JSON.stringify(await measureEngine(JSON.parse(values.case) as Job));
      // Not every engine lets go of the process by itself.
      process.stdout.write(`\n${result}\n`, () => process.exit(0));
      return;
    }
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      return;
    }
    const engines = values.engines?.split(",") ?? [...ENGINES];
    const unknown = engines.find((engine) => !(ENGINES as readonly string[]).includes(engine));
    if (unknown !== undefined) throw new InputError(`--engines: expected ${ENGINES.join(", ")}, got ${unknown}`);
    const size = checkImageSize(integer("size", values.size, 64) ?? 512);
    const tokens = integer("tokens", values.tokens, 2) ?? 256;
    install();
    const { adapter } = await openBench();
    const runs = integer("runs", values.runs, 1, 1000) ?? (adapter.software ? 1 : 5);
    const tasks: Record<string, Task> = {
      [`FastViTHD, ${size} × ${size}`]: { kind: "vision", size },
      [`prefill, ${tokens} tokens, int4`]: { kind: "decoder", tokens, past: 0 },
      [`one token after ${tokens}, int4`]: { kind: "decoder", tokens: 1, past: tokens },
    };
    const rows = [];
    for (const [name, task] of Object.entries(tasks)) rows.push(await compare(name, task, engines as Engine[], runs));
    const json = JSON.stringify({ bench: "peers", date: new Date().toISOString(), adapter, runs, rows });
    process.stdout.write(`\n${json}\n`);
    if (!values["no-files"]) await writeResult(values.out ?? RESULTS, "peers.json", `${json}\n`);
  });

/** Measures one task on every engine and prints it, slowness relative to ours. */
async function compare(name: string, task: Task, engines: readonly Engine[], runs: number) {
  const results: { engine: Engine; ms?: number; failed?: string }[] = [];
  for (const engine of engines) {
    const result = await inProcess<{ ms: number }>("peers/run.ts", { engine, task, runs } satisfies Job);
    results.push({ engine, ...result });
  }
  const ours = results.find(({ engine }) => engine === "ours")?.ms;
  const lines = results.map(({ engine, ms, failed }) => [
    engine,
    ms === undefined ? "–" : show(ms),
    ms === undefined || ours === undefined ? "–" : `${show(ms / ours)} ×`,
    failed ? `does not run: ${failed}` : "",
  ]);
  process.stdout.write(`\n${table([[name, "ms", "of ours", ""], ...lines])}`);
  return { name, task, results };
}

/** The peers are too large to come with the checkout. */
function install(): void {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  if (existsSync(`${folder}node_modules/onnxruntime-node`) && existsSync(`${folder}node_modules/onnxruntime-web`))
    return;
  process.stdout.write("installing the peers in bench/peers (once; about 600 MB) …\n");
  const args = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"];
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const { status } = spawnSync("npm", args, {
    cwd: folder,
    env,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) throw new InputError("the peers could not be installed, for npm's reason above");
}
