import type { Checkpoint } from "../../weights/checkpoint.ts";
import { TextError } from "../errors.ts";
import { builtInTemplate, type ChatTemplate, templateFor } from "../text/chat_template.ts";
import { TEXT_FILES, type TextFile, type TextFiles } from "../text/files.ts";
import { checkpointTemplate } from "../text/jinja_template.ts";
import { stopTokens } from "../text/stop_tokens.ts";
import { Tokenizer } from "../text/tokenizer.ts";
import type { Part } from "./assemble.ts";

/** How a checkpoint spells prompts, and when its answers end. */
export interface TextParts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly stopTokens: ReadonlySet<number>;
}

/**
 * Reads a checkpoint's tokenizer and chat template. A folder without a template gets the built-in one of its family.
 *
 * @throws TextError when the tokenizer is missing or malformed, or no template is known
 */
export async function loadText({ checkpoint, format }: Part): Promise<TextParts> {
  const [files, generation] = await Promise.all([readFiles(checkpoint), checkpoint.json("generation_config.json")]);
  const tokenizer = new Tokenizer(files);
  return {
    tokenizer,
    template: chooseTemplate(checkpoint.folder.name, format.kind, files, tokenizer),
    stopTokens: stopTokens(tokenizer, generation, checkpoint.config),
  };
}

/** A file that stands in for another is asked for only without that one: a web server may refuse what it does not have. */
async function readFiles(checkpoint: Checkpoint): Promise<TextFiles> {
  const files: Partial<Record<TextFile, string>> = {};
  const read = async (name: TextFile): Promise<void> => {
    const text = await checkpoint.text(name);
    if (text !== undefined) files[name] = text;
  };
  await Promise.all(
    TEXT_FILES.map(async ({ file, instead }) => {
      await read(file);
      if (files[file] === undefined) await Promise.all(instead.map(read));
    }),
  );
  return files;
}

function chooseTemplate(
  name: string,
  kind: Part["format"]["kind"],
  files: TextFiles,
  tokenizer: Tokenizer,
): ChatTemplate {
  const own = checkpointTemplate(files);
  if (own) return own;
  // These two were trained on one template, whatever tokens their vocabulary has.
  if (kind === "fastvlm_phi4") return builtInTemplate("fastvlm");
  if (kind === "llava") return builtInTemplate("qwen2");
  const family = templateFor(tokenizer);
  if (!family) {
    throw new TextError(`${name}: no chat template, and the vocabulary is of no known family`, {
      hint: "Add chat_template.jinja from the original checkpoint.",
    });
  }
  return builtInTemplate(family);
}
