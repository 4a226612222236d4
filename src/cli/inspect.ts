import pc from "picocolors";
import { InputError } from "../errors.ts";
import { type Inspection, inspectCheckpoint } from "../pipeline/inspect.ts";
import "../node.ts";
import { parseFlags } from "./args.ts";
import { sourceOf } from "./model.ts";

export const INSPECT_USAGE = `fastvlm inspect [DIR] [--json]
fastvlm inspect --vision DIR --language DIR [--projector DIR] [--json]

  DIR               checkpoint folder or address; default: the tiny one that comes with the program
  --vision DIR, --language DIR, --projector DIR
                    parts of several checkpoints that make a model; the projector is the vision folder's unless named
  --json            print one JSON object instead of text`;

const FLAGS = {
  vision: { type: "string" },
  projector: { type: "string" },
  language: { type: "string" },
  json: { type: "boolean" },
} as const;

/** `fastvlm inspect DIR`: what a checkpoint is, without loading its weights. */
export async function inspect(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, FLAGS, INSPECT_USAGE);
  if (positionals.length > 1)
    throw new InputError(`inspect: expected one folder, got ${positionals.length}`, { hint: INSPECT_USAGE });
  const [model] = positionals;
  if (model !== undefined && (values.vision ?? values.projector ?? values.language) !== undefined) {
    throw new InputError("inspect: expected either a folder or --vision with --language, got both", {
      hint: INSPECT_USAGE,
    });
  }
  const report = await inspectCheckpoint(sourceOf({ ...values, ...(model !== undefined && { model }) }));
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : render(report));
}

const bytes = (n: number): string =>
  n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(2)} GiB` : `${(n / 2 ** 20).toFixed(1)} MiB`;
const count = (n: number): string => n.toLocaleString("en");

function render({ name, kind, parameters, bytes: total, dtypes, vision, language, memory }: Inspection): string {
  const stored = Object.entries(dtypes).map(([dtype, n]) => `${dtype} ${bytes(n)}`);
  const l = language;
  const lines = [
    `${pc.bold(name)}: ${kind}, ${count(parameters)} parameters, ${bytes(total)} (${stored.join(", ")})`,
    "",
    ...(vision
      ? [
          `vision     FastViTHD, blocks ${vision.layers.join(" + ")}, widths ${vision.embedDims.join(" → ")}, features of ${vision.outputChannels}`,
          `images     ${vision.imageSize} × ${vision.imageSize} pixels (${vision.resize}), ${vision.tokensPerImage} tokens each`,
        ]
      : ["vision     none: text only"]),
    `language   ${l.modelType}, ${l.layers} layers of ${l.hiddenSize}, ${l.heads} heads / ${l.kvHeads} of ${l.headDim}, feed-forward ${l.intermediateSize}`,
    `           vocabulary ${count(l.vocabSize)}, context ${count(l.maxPositions)} tokens, rotary ${l.rotaryDim} of ${l.headDim}${l.longRope ? `, LongRoPE past ${count(l.longRope.original)}` : ""}`,
    "",
    "GPU memory for one image and 2,048 tokens of text",
    ...Object.entries(memory).map(([dtype, m]) => {
      return `  ${dtype}      ${bytes(m.weights + m.activations + m.cache)}: weights ${bytes(m.weights)}, activations ${bytes(m.activations)}, KV cache ${bytes(m.cache)}`;
    }),
  ];
  return `${lines.join("\n")}\n`;
}
