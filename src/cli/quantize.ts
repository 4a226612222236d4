import pc from "picocolors";
import { InputError } from "../errors.ts";
import { QUANT_FORMATS } from "../tensor/quantized.ts";
import { choice, parseFlags } from "./args.ts";
import { loadProgress } from "./progress.ts";
import { quantizeFolder, type Report } from "./quantize_folder.ts";

export const QUANTIZE_USAGE = `fastvlm quantize IN OUT [--format int4|int4-affine|int8] [--embeddings FORMAT]

  IN                a checkpoint folder with floating-point weights
  OUT               the folder to make; it appears when it is complete. A run that was interrupted goes on where it stopped
  --format FORMAT   how the language model's matrices are rounded; the rest stays as it is
                      int4         4.5 bits a weight; the default
                      int4-affine  5 bits, a little closer
                      int8         8.5 bits, hardly to be told from the original
  --embeddings FORMAT
                    how the embedding and the output head are rounded, of the same three; default int8
  --errors          print the relative error of every matrix
  --json            print one JSON object instead of text`;

const FLAGS = {
  format: { type: "string" },
  embeddings: { type: "string" },
  errors: { type: "boolean" },
  json: { type: "boolean" },
} as const;

/** `fastvlm quantize IN OUT`: a checkpoint whose language model takes a quarter of the space. */
export async function quantize(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, QUANTIZE_USAGE);
  const [input, output, ...rest] = positionals;
  if (input === undefined || output === undefined || rest.length > 0) {
    throw new InputError(`quantize: expected two folders, got ${positionals.length}`, { hint: QUANTIZE_USAGE });
  }
  const format = choice("format", values.format, ...QUANT_FORMATS) ?? "int4";
  const embeddings = choice("embeddings", values.embeddings, ...QUANT_FORMATS);
  const report = await quantizeFolder(input, output, { format, embeddings, onProgress: loadProgress(process.stderr) });
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : render(report, values.errors === true));
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
const percent = (error: number): string => `${(error * 100).toFixed(2)} %`;

function render({ output, matrices, inputBytes, outputBytes }: Report, all: boolean): string {
  const lines = [`${pc.bold(output)}: ${gigabytes(inputBytes)} became ${gigabytes(outputBytes)}`];
  for (const format of new Set(matrices.map((matrix) => matrix.format))) {
    const group = matrices.filter((matrix) => matrix.format === format);
    const worst = group.reduce((a, b) => (b.error > a.error ? b : a));
    const mean = group.reduce((sum, { error }) => sum + error, 0) / group.length;
    lines.push(
      `${format.padEnd(12)}${group.length} matrices, relative error ${percent(mean)}, at most ${percent(worst.error)}: ${worst.name}`,
    );
  }
  if (all)
    for (const { name, format, error } of matrices) lines.push(`  ${percent(error).padStart(8)}  ${format}  ${name}`);
  return `${lines.join("\n")}\n`;
}
