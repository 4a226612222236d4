// Times the shaders that a model may choose between: `node bench/tune.mts [model …]` (Node 24), models as in bench/ttft.ts.
// Prints every class of shapes, then the best choice per number of rows as the table that src/gpu/tuned.ts holds.
import { parseFlags } from "../src/cli/args.ts";
import { InputError } from "../src/errors.ts";
import { type Answer, best, tune } from "../src/gpu/tune.ts";
import { FastVLM } from "../src/node.ts";
import { rehearse, TUNED_LENGTHS } from "../src/pipeline/rehearse.ts";
import { parseModels, sourceOf } from "./lib/models.mts";
import { nameOf, program } from "./lib/program.mts";

const USAGE = `node bench/tune.mts [model …]

Times the shaders that may serve each shape of these models, and prints the table of the best. Models as in bench/ttft.ts;
default: fastvlm-0.5b fastvlm-0.5b:int4`;

/** Side of the picture: layers of a tower are the same for all sizes, but for the number of rows. */
const IMAGE_SIZE = 256;

async function tuneAll(names: readonly string[]): Promise<void> {
  const groups = new Map<string, { candidates: readonly string[]; answers: Answer[] }>();
  let adapter = "";
  for (const choice of parseModels((names.length > 0 ? names : ["fastvlm-0.5b", "fastvlm-0.5b:int4"]).join())) {
    const source = sourceOf(choice);
    if (typeof source === "object" && "missing" in source) throw new InputError(source.missing);
    const { quantize } = choice;
    using vlm = await FastVLM.load(source, { quantize, imageSize: IMAGE_SIZE, autotune: false, cache: false });
    const { gpu, model } = vlm;
    adapter = nameOf(gpu.adapter);
    console.log(`${adapter}: ${choice.name} ${quantize ?? model.dtype}`);
    gpu.choices.clear();
    const questions = await gpu.choices.collect(() => rehearse(model, IMAGE_SIZE, TUNED_LENGTHS));
    for (const question of questions) {
      const [answer] = (await tune(gpu, [question], { limitMs: Number.POSITIVE_INFINITY })) as [Answer];
      const times = question.candidates.map((name) => `${name} ${answer.ms[name]?.toPrecision(3) ?? "failed"} ms`);
      console.log(`  ${question.key}: ${times.join(", ")}`);
      // Without the sizes, which are the last word. What is wide costs most, and so decides.
      const group = question.key.slice(0, question.key.lastIndexOf(" "));
      const { answers, candidates } = groups.get(group) ?? { answers: [], candidates: question.candidates };
      groups.set(group, { candidates, answers: [...answers, answer] });
    }
  }
  const table = Object.fromEntries(
    [...groups].map(([group, { candidates, answers }]) => {
      const sum = (name: string): number => answers.reduce((ms, answer) => ms + (answer.ms[name] ?? Infinity), 0);
      return [group, best(candidates, Object.fromEntries(candidates.map((name) => [name, sum(name)])))];
    }),
  );
  console.log(JSON.stringify({ adapter, table }, null, 2));
}

await program(async () => {
  const { values, positionals } = parseFlags(process.argv.slice(2), { help: { type: "boolean" } }, USAGE);
  if (values.help) process.stdout.write(`${USAGE}\n`);
  else await tuneAll(positionals);
});
