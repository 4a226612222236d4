import { type ParseArgsConfig, parseArgs } from "node:util";
import { InputError } from "../errors.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/**
 * Parses flags, and turns every mistake into one clear sentence.
 *
 * @throws InputError for unknown flags and missing values
 */
export function parseFlags<const T extends Options>(args: readonly string[], options: T, usage: string) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split(". ")[0]! : String(cause);
    throw new InputError(message.charAt(0).toLowerCase() + message.slice(1), { cause, hint: usage });
  }
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
