// Times every case of every kernel: `node bench/kernels.mts [name …]`. The last line of the output is one JSON document.
import { suites } from "../kernels/all.ref.ts";
import { parseFlags } from "../src/cli/args.ts";
import { InputError } from "../src/errors.ts";
import { openNodeGpu } from "../src/node/adapter.ts";
import { program } from "./lib/program.mts";

const USAGE = "node bench/kernels.mts [name …], such as rms_norm; default: all kernels";

/** Runs recorded in one submit, so that the wait for the GPU is shared; and how often that is timed. */
const BATCH = 8;
const ROUNDS = 5;

async function timeAll(wanted: readonly string[]): Promise<void> {
  const unknown = wanted.find((name) => !suites.some((suite) => suite.name === name));
  if (unknown !== undefined) {
    throw new InputError(`kernel: expected a file of kernels/ without its ending, got ${unknown}`, { hint: USAGE });
  }
  const gpu = await openNodeGpu();
  const { description, f16 } = gpu.adapter;
  console.log(description);

  const rows: { kernel: string; case: string; dtype: string; ms: number; gflops: number; gbs: number }[] = [];
  for (const suite of suites.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    for (const dtype of f16 ? (["f32", "f16"] as const) : (["f32"] as const)) {
      for (const [i, label] of suite.labels.entries()) {
        // The first run compiles, and says whether this adapter can run the case at all.
        if ((await suite.run(gpu, i, dtype)).skipped) continue;
        const { encode, bytes, flops, release } = suite.prepare(gpu, i, dtype);
        const times: number[] = [];
        for (let round = 0; round < ROUNDS; round++) {
          const started = performance.now();
          for (let run = 0; run < BATCH; run++) encode();
          await gpu.settled();
          times.push((performance.now() - started) / BATCH);
        }
        release();
        const ms = times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
        rows.push({ kernel: suite.name, case: label, dtype, ms, gflops: flops / ms / 1e6, gbs: bytes / ms / 1e6 });
        const rates = [
          flops && `${(flops / ms / 1e6).toFixed(1)} GFLOP/s`,
          bytes && `${(bytes / ms / 1e6).toFixed(1)} GB/s`,
        ];
        console.log(
          `${ms.toFixed(3).padStart(10)} ms  ${suite.name} ${dtype} ${label}  ${rates.filter(Boolean).join(", ")}`,
        );
      }
    }
  }
  console.log(JSON.stringify({ adapter: description, rows }));
  gpu.close();
}

await program(async () => {
  const { values, positionals } = parseFlags(process.argv.slice(2), { help: { type: "boolean" } }, USAGE);
  if (values.help) process.stdout.write(`${USAGE}\n`);
  else await timeAll(positionals);
});
