import { type ParseArgsConfig, parseArgs } from "node:util";
import { InputError } from "../errors.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/** Names that Apple's and LLaVA's scripts have for these flags. */
const ALIASES: Readonly<Record<string, string>> = {
  "model-path": "model",
  "image-file": "image",
  "image-path": "image",
  "video-file": "video",
  "video-path": "video",
  query: "prompt",
  "max-new-tokens": "max-tokens",
};

/** `--image_path=x` → `--image=x`: other scripts' names, and underscores for hyphens. Nothing after `--` is touched. */
export function withAliases(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((arg, i) => {
    const [, flag, rest] = /^--([a-z][a-z_-]*)(=.*)?$/s.exec(arg) ?? [];
    if (flag === undefined || (end >= 0 && i > end)) return arg;
    const name = flag.replaceAll("_", "-");
    return `--${ALIASES[name] ?? name}${rest ?? ""}`;
  });
}

/**
 * Parses flags, and turns every mistake into one clear sentence.
 *
 * @throws InputError for unknown flags and missing values
 */
export function parseFlags<const T extends Options>(args: readonly string[], options: T, usage: string) {
  try {
    return parseArgs({ args: withAliases(args), options, allowPositionals: true, strict: true });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split(". ")[0]! : String(cause);
    throw new InputError(message.charAt(0).toLowerCase() + message.slice(1), { cause, hint: usage });
  }
}

/** @throws InputError when there are arguments that belong to no flag, such as all but the first file of `--image *.jpg` */
export function noArguments(command: string, [first, ...rest]: readonly string[], hint: string): void {
  if (first === undefined) return;
  const more = rest.length > 0 ? ` and ${rest.length} more` : "";
  throw new InputError(`${command}: expected nothing beside flags, got "${first}"${more}`, { hint });
}

/** A flag's value as an integer within bounds; undefined when the flag is absent. */
export function integer(
  flag: string,
  value: string | undefined,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < min || number > max) {
    throw new InputError(
      `--${flag}: expected a whole number ${max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`}, got "${value}"`,
    );
  }
  return number;
}

/** A flag's value as a number; undefined when the flag is absent. Who uses it checks its range. */
export function number(flag: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (value.trim() !== "" && Number.isFinite(Number(value))) return Number(value);
  throw new InputError(`--${flag}: expected a number, got "${value}"`);
}

/** A flag's value as one of a few words; undefined when the flag is absent. */
export function choice<const T extends string>(
  flag: string,
  value: string | undefined,
  ...allowed: T[]
): T | undefined {
  if (value === undefined) return undefined;
  const found = allowed.find((word) => word === value);
  if (!found) throw new InputError(`--${flag}: expected ${allowed.join(" or ")}, got "${value}"`);
  return found;
}
