import { readFileSync } from "node:fs";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { GOLDEN } from "./golden.ts";

interface GoldenText {
  readonly tokenizers: Readonly<
    Record<
      string,
      {
        readonly file: string;
        readonly vocab_len: number;
        readonly specials: Readonly<Record<string, number>>;
        readonly encode: readonly { text: string; ids: number[]; decoded: string }[];
      }
    >
  >;
  readonly prompts: readonly {
    readonly name: string;
    readonly messages: readonly (readonly ["system" | "user" | "assistant", string])[];
    readonly prompt: string;
    readonly ids?: number[];
    readonly image_tokens?: number;
    readonly tokenizer: string;
  }[];
}

/** A golden file as text. */
export const readGolden = (name: string): string => readFileSync(new URL(name, GOLDEN), "utf8");

/** Tokenizers and prompts of the manifest. */
export const golden = JSON.parse(readGolden("manifest.json")) as GoldenText;

/** A golden `tokenizer.json`. */
export const jsonOf = (name: string): string => readGolden(golden.tokenizers[name]!.file);

export const tokenizerOf = (name: string): Tokenizer => new Tokenizer({ "tokenizer.json": jsonOf(name) });

/** A golden `tokenizer.json` with other values at some paths, such as `model.type`; undefined removes. */
export function edited(name: string, changes: Readonly<Record<string, unknown>>): string {
  const json: unknown = JSON.parse(jsonOf(name));
  for (const [path, value] of Object.entries(changes)) {
    const keys = path.split(".");
    const last = keys.pop()!;
    const owner = keys.reduce((node, key) => (node as Record<string, unknown>)[key], json) as Record<string, unknown>;
    if (value === undefined) delete owner[last];
    else owner[last] = value;
  }
  return JSON.stringify(json);
}
