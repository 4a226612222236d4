// What the benches share as programs: mistakes in one line, one place for results, one process per measurement.
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FastVLMError } from "../../src/errors.ts";
import { type AdapterSummary, nameOf as cardOf } from "../../src/gpu/device.ts";
import { openNodeGpu } from "../../src/node/adapter.ts";
import { type Ceilings, measureCeilings } from "./ceilings.mts";
import { show } from "./stats.mts";

/** Runs a bench; an error a person can mend becomes one line, a hint, and exit code 2. */
export async function program(body: () => Promise<void>): Promise<void> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0); // whoever read has read enough
  });
  try {
    await body();
  } catch (error) {
    if (!(error instanceof FastVLMError)) throw error;
    process.stderr.write(`error: ${error.message}\n${error.hint ? `hint:  ${error.hint}\n` : ""}`);
    process.exitCode = 2;
  }
}

export interface Bench {
  readonly adapter: AdapterSummary;
  readonly ceilings: Ceilings;
  /** Programs that ran or waited in the minute before, on average; 0 where the system does not say. */
  readonly load: number;
}

/** Finds the adapter, measures its ceilings and prints both, and how busy the machine is. */
export async function openBench(): Promise<Bench> {
  const [load] = loadavg() as [number, number, number];
  const gpu = await openNodeGpu();
  try {
    const ceilings = await measureCeilings(gpu);
    const { adapter } = gpu;
    process.stdout.write(
      `${nameOf(adapter)}: ${show(ceilings.flopsPerSecond / 1e9)} GFLOP/s in a large product, ${show(ceilings.bytesPerSecond / 1e9)} GB/s in a large copy or read; machine load ${load.toFixed(1)} on ${availableParallelism()} cores\n`,
    );
    return { adapter, ceilings, load };
  } finally {
    gpu.close();
  }
}

export const nameOf = (adapter: AdapterSummary): string => `${cardOf(adapter)}${adapter.software ? " (software)" : ""}`;

/** As this program was started: opening the engine widens the vectors of Mesa's driver for CPUs, which others have as they ship. */
const environment = { ...process.env };

/**
 * Runs `bench/<launcher>` with `--case` in a process of its own and returns the JSON of its last line, or why there is none.
 *
 * @param limit seconds after which the process is ended. Default: none
 */
export async function inProcess<Result>(
  launcher: string,
  input: unknown,
  limit = Number.POSITIVE_INFINITY,
): Promise<Result | { readonly failed: string }> {
  const script = fileURLToPath(new URL(`../${launcher}`, import.meta.url));
  const child = spawn(process.execPath, [script, "--case", JSON.stringify(input)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: environment,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  let late = false;
  const end = (): void => {
    late = true;
    child.kill("SIGKILL");
    // What it started may hold these open.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const timer = Number.isFinite(limit) ? setTimeout(end, 1000 * limit) : undefined;
  const code = await new Promise<string>((resolve) => {
    child.on("close", (status, signal) => resolve(signal ?? String(status)));
    child.on("error", (error) => resolve(error.message));
  });
  clearTimeout(timer);
  if (late) return { failed: `not done after ${limit} s` };
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  if (code === "0" && last.startsWith("{")) return JSON.parse(last) as Result;
  const reason = /^(?:\w*[Ee]rror: ?)+(.*)$/m.exec(stderr)?.[1] ?? stderr.trim().split("\n").at(-1);
  return { failed: reason || `the process ended with ${code}` };
}

/** Writes a result beside the others and says where. */
export async function writeResult(folder: string, file: string, content: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, file);
  await writeFile(path, content);
  process.stdout.write(`${path}\n`);
}

export const RESULTS = fileURLToPath(new URL("../results", import.meta.url));
