import { TextError } from "../errors.ts";

/**
 * Files of a checkpoint that say how text becomes tokens and messages become a prompt, each with what older checkpoints have
 * instead.
 */
export const TEXT_FILES = [
  { file: "tokenizer.json", instead: ["vocab.json", "merges.txt", "added_tokens.json"] },
  { file: "tokenizer_config.json", instead: [] },
  { file: "chat_template.jinja", instead: ["chat_template.json"] },
] as const;

type Entry = (typeof TEXT_FILES)[number];
export type TextFile = Entry["file"] | Entry["instead"][number];

/** Contents of those that a checkpoint has, by name. */
export type TextFiles = Readonly<Partial<Record<TextFile, string>>>;

export type JsonObject = { readonly [key: string]: unknown };

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** @throws TextError naming the file when `text` is not a JSON object */
export function parseObject(name: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TextError(`${name}: not valid JSON: ${(cause as Error).message}`, { cause });
  }
  if (!isObject(value)) throw new TextError(`${name}: expected a JSON object`);
  return value;
}

/** A special token in `tokenizer_config.json`: written as a string, or as an object with `content`. */
export function namedToken(config: JsonObject, name: string): string | undefined {
  const value = config[name];
  const content = isObject(value) ? value.content : value;
  return typeof content === "string" ? content : undefined;
}
