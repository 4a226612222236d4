import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { integer, parseFlags } from "../../src/cli/args.ts";
import { InputError } from "../../src/errors.ts";
import { checkImageSize } from "../../src/image/preprocess.ts";
import { inProcess, nameOf, openBench, program, RESULTS, writeResult } from "../lib/program.mts";
import { show, table } from "../lib/stats.mts";
import { ENGINES, measureEngine, unfit } from "./engines.mts";
import type { Engine, Job, Task } from "./job.mts";

const USAGE = `node bench/peers/run.ts [options]

This engine against others on the same adapter, and some on the CPU: FastViTHD with its projector, the language model of
FastVLM-0.5B in int4, and a product of its shape; random weights. Installs the others in bench/peers the first time.

  --engines LIST     of ${ENGINES.join(", ")}. Default all
  --tasks LIST       of vision, prefill, step, product. Default all
  --size N           side of the image in pixels. Default 512
  --tokens N         length of the prompt; the step comes after as many. 2 to 4095, default 256
  --runs N           default 5, on software adapters 1; one more comes first
  --threads N        of engines on the CPU. Default: one per core
  --limit SECONDS    for one engine and task, preparing included. Default 300, on software adapters 600
  --out DIR, --no-files`;

const FLAGS = {
  engines: { type: "string" },
  tasks: { type: "string" },
  size: { type: "string" },
  tokens: { type: "string" },
  runs: { type: "string" },
  threads: { type: "string" },
  limit: { type: "string" },
  out: { type: "string" },
  "no-files": { type: "boolean" },
  help: { type: "boolean" },
  case: { type: "string" },
} as const;

/** The widest matrix of FastVLM-0.5B's language model. */
const [INPUTS, OUTPUTS] = [896, 4864];

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
    const size = checkImageSize(integer("size", values.size, 64) ?? 512);
    const tokens = integer("tokens", values.tokens, 2, 4095) ?? 256;
    const tasks: Record<string, readonly [title: string, Task]> = {
      vision: [`FastViTHD and projector, ${size} × ${size}`, { kind: "vision", size }],
      prefill: [`prefill, ${tokens} tokens, int4`, { kind: "decoder", tokens, past: 0 }],
      step: [`one token after ${tokens}, int4`, { kind: "decoder", tokens: 1, past: tokens }],
      product: [
        `product, ${tokens} × ${INPUTS} × ${OUTPUTS}`,
        { kind: "product", rows: tokens, inputs: INPUTS, outputs: OUTPUTS },
      ],
    };
    const chosen = several("tasks", values.tasks, Object.keys(tasks));
    const engines = several("engines", values.engines, ENGINES);
    install();
    const { adapter, load } = await openBench();
    const common = {
      runs: integer("runs", values.runs, 1, 1000) ?? (adapter.software ? 1 : 5),
      threads: integer("threads", values.threads, 1, 1024) ?? availableParallelism(),
      software: adapter.software,
    };
    const limit = integer("limit", values.limit, 1) ?? (adapter.software ? 600 : 300);
    const rows = [];
    for (const name of chosen) {
      const [title, task] = tasks[name]!;
      rows.push(await compare(title, task, engines, common, limit));
    }
    const about = { bench: "peers", date: new Date().toISOString(), adapter, load, ...common };
    const json = JSON.stringify({ ...about, rows });
    process.stdout.write(`\nwebgpu and vulkan: ${nameOf(adapter)}; threads on the CPU: ${common.threads}\n\n${json}\n`);
    if (!values["no-files"]) await writeResult(values.out ?? RESULTS, "peers.json", `${json}\n`);
  });

/** Names from a comma-separated flag; all without one. */
function several<Name extends string>(
  flag: string,
  value: string | undefined,
  known: readonly Name[],
): readonly Name[] {
  const names = value?.split(",") ?? known;
  const unknown = names.find((name) => !(known as readonly string[]).includes(name));
  if (unknown !== undefined) throw new InputError(`--${flag}: expected ${known.join(", ")}, got ${unknown}`);
  return names as readonly Name[];
}

type Outcome = { readonly engine: Engine; readonly ms?: number; readonly failed?: string };

/** Measures one task on every engine and prints it, slowness relative to ours. */
async function compare(
  name: string,
  task: Task,
  engines: readonly Engine[],
  common: Pick<Job, "runs" | "threads" | "software">,
  limit: number,
) {
  const results: Outcome[] = [];
  for (const engine of engines) results.push({ engine, ...(await outcome({ engine, task, ...common }, limit)) });
  const ours = results.find(({ engine }) => engine === "ours")?.ms;
  const widest = Math.max(...results.map(({ failed = "" }) => failed.length));
  const lines = results.map(({ engine, ms, failed = "" }) => [
    engine,
    ms === undefined ? "–" : show(ms),
    ms === undefined || ours === undefined ? "–" : `${show(ms / ours)} ×`,
    failed.padEnd(widest),
  ]);
  process.stdout.write(`\n${table([[name, "ms", "of ours", ""], ...lines])}`);
  return { name, task, results };
}

async function outcome(job: Omit<Job, "folder">, limit: number): Promise<Omit<Outcome, "engine">> {
  const reason = unfit(job.engine, job.task);
  if (reason) return { failed: reason };
  const folder = await mkdtemp(join(tmpdir(), "fastvlm-peers-"));
  try {
    const input: Job = { ...job, folder };
    return await inProcess<{ ms: number }>("peers/run.ts", input, limit);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const PACKAGES = [
  "onnxruntime-node",
  "onnxruntime-web",
  "@huggingface/transformers",
  "@tensorflow/tfjs-backend-webgpu",
  "node-llama-cpp",
];

/** The peers are too large to come with the checkout. */
function install(): void {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  if (PACKAGES.every((name) => existsSync(`${folder}node_modules/${name}/package.json`))) return;
  process.stdout.write("installing the peers in bench/peers (once; about 800 MB) …\n");
  // Without scripts: one would download CUDA, another build from source.
  const args = ["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"];
  const shell = process.platform === "win32";
  const { status } = spawnSync("npm", args, { cwd: folder, stdio: "inherit", shell });
  if (status !== 0) throw new InputError("the peers could not be installed, for npm's reason above");
}
