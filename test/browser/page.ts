// Runs every kernel suite on the browser's GPU. The test reads `kernelRun` and listens to `reportCase`; without it, the
// page is for people: it lists what failed.
import { suites } from "../../kernels/all.ref.ts";
import type { AnySuite } from "../../kernels/case.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { openWebGpu } from "../../src/web/adapter.ts";

/** One suite case in the browser. `problem` is what went wrong, null for a case that passed or was skipped. */
export interface BrowserCase {
  readonly name: string;
  readonly skipped: boolean;
  readonly problem: string | null;
}

export interface BrowserRun {
  readonly adapter: string;
  readonly cases: number;
}

declare global {
  /** Settles when every case has run; rejects when there is no GPU. */
  var kernelRun: Promise<BrowserRun> | undefined;
  /** Receives each result as it comes. */
  var reportCase: ((result: BrowserCase) => Promise<void>) | undefined;
}

async function runSuites(): Promise<BrowserRun> {
  const gpu = await openWebGpu({ profile: false });
  gpu.poison = true;
  const { vendor, architecture, f16 } = gpu.adapter;
  let cases = 0;
  for (const dtype of f16 ? (["f32", "f16"] as const) : (["f32"] as const)) {
    for (const suite of suites) {
      for (const [i, label] of suite.labels.entries()) {
        cases++;
        await report({ name: `${suite.name} ${dtype} ${label}`, ...(await runCase(gpu, suite, i, dtype)) });
      }
    }
  }
  gpu.close();
  return { adapter: `${vendor} ${architecture}`, cases };
}

async function runCase(
  gpu: Gpu,
  suite: AnySuite,
  index: number,
  dtype: "f32" | "f16",
): Promise<Omit<BrowserCase, "name">> {
  try {
    const { skipped, error, tolerance } = await suite.run(gpu, index, dtype);
    // The GPU reports late: what this case caused must not be the next one's failure.
    await gpu.settled();
    return { skipped, problem: error <= tolerance ? null : `error ${error} exceeds ${tolerance}` };
  } catch (thrown) {
    await gpu.settled().catch(() => undefined);
    return { skipped: false, problem: String(thrown) };
  }
}

async function report(result: BrowserCase): Promise<void> {
  if (result.problem) show(`${result.name}: ${result.problem}`);
  await globalThis.reportCase?.(result);
}

function show(line: string): void {
  document.querySelector("#log")?.append(`\n${line}`);
}

globalThis.kernelRun = runSuites();
globalThis.kernelRun.then(
  ({ adapter, cases }) => show(`${cases} cases on ${adapter}`),
  (error) => show(String(error)),
);
