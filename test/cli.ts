import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { GOLDEN } from "./golden.ts";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

/** A small checkpoint of random weights. */
export const MODEL = fileURLToPath(new URL("models/fastvlm_hf", GOLDEN));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  /** Without the lines that Dawn prints about software adapters. */
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  /** Settles when the process has ended. */
  readonly ended: Promise<Ended>;
}

/** Starts a script; by default the command line. */
export function start(args: readonly string[], script = MAIN, env: NodeJS.ProcessEnv = {}, cwd?: string): Running {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, ...args], {
    ...(cwd !== undefined && { cwd }),
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, NO_COLOR: "1", FORCE_COLOR: undefined, ...env },
  });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (part: string) => {
      text[name] += part;
    });
  }
  const ended = once(child, "close").then(([code, signal]) => ({
    code,
    signal,
    stdout: text.stdout,
    stderr: text.stderr.replaceAll(/^Warning: max.*\n/gm, ""),
  }));
  return { child, ended };
}

/** Runs the command line to its end, with `input` on its standard input. */
export function run(args: readonly string[], input = ""): Promise<Ended> {
  const { child, ended } = start(args);
  child.stdin.on("error", () => undefined).end(input);
  return ended;
}

/**
 * Runs the body of a module whose files cannot grow past so many blocks of 512 bytes: much like on a full disk.
 * `source` imports from the sources. Returns what it prints.
 */
export function runCramped(blocks: number, body: string): string {
  const source = `const source = (path) => import(new URL(path, ${JSON.stringify(new URL("../src/", import.meta.url))}));`;
  const node = [process.execPath, "--disable-warning=ExperimentalWarning", "--input-type=module", "--eval"];
  const script = `ulimit -f ${blocks} && exec "$0" "$@"`;
  const { stdout, stderr } = spawnSync("sh", ["-c", script, ...node, `${source}\n${body}`], {
    encoding: "utf8",
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  return stdout + stderr;
}
