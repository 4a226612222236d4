import { ConfigError } from "../src/errors.ts";

interface Range {
  readonly min?: number;
  readonly max?: number;
}

/** No size of any model comes near; larger numbers are mistakes that would otherwise fill the memory. */
const MAX_SIZE = 2 ** 24;

/**
 * A JSON object of settings, read key by key. Every complaint names file and key and says what was expected.
 *
 * A key whose value is `null` counts as absent, as Python writes `None`.
 */
export class Settings {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #where: string;

  /** @param where name of the object for errors, such as `config.json: text_config` */
  constructor(value: unknown, where = "config.json") {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ConfigError(`${where}: expected an object, got ${show(value)}`);
    }
    this.#values = value as Readonly<Record<string, unknown>>;
    this.#where = where;
  }

  keys(): string[] {
    return Object.keys(this.#values);
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  raw(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? (this.#values[key] ?? undefined) : undefined;
  }

  /** The object under `key`, or undefined. */
  object(key: string): Settings | undefined {
    const value = this.raw(key);
    return value === undefined ? undefined : new Settings(value, `${this.#where}: ${key}`);
  }

  /** A whole number, from 1 unless told otherwise. */
  size(key: string, fallback: number, { min = 1, max = MAX_SIZE }: Range = {}): number {
    const value = this.raw(key) ?? fallback;
    if (!Number.isInteger(value) || !inRange(value, min, max)) {
      throw this.wrong(key, `a whole number from ${min} to ${max}`);
    }
    return value as number;
  }

  /** A finite number above zero unless told otherwise. */
  number(key: string, fallback: number, { min = Number.MIN_VALUE, max = 1e12 }: Range = {}): number {
    const value = this.raw(key) ?? fallback;
    if (!inRange(value, min, max))
      throw this.wrong(key, min > 0 ? "a number above 0" : `a number from ${min} to ${max}`);
    return value as number;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== "boolean") throw this.wrong(key, "true or false");
    return value;
  }

  text(key: string): string | undefined {
    const value = this.raw(key);
    if (value !== undefined && typeof value !== "string") throw this.wrong(key, "a string");
    return value;
  }

  /** A list of numbers above zero, of exactly `length` unless undefined. */
  numbers(key: string, length?: number, whole = false): number[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const valid = (n: unknown) => inRange(n, Number.MIN_VALUE, MAX_SIZE) && (!whole || Number.isInteger(n));
    if (!Array.isArray(value) || !value.every(valid) || (length !== undefined && value.length !== length)) {
      throw this.wrong(key, `a list of ${length ?? "any number of"} ${whole ? "whole " : ""}numbers above 0`);
    }
    return value as number[];
  }

  /** For a value the reader found wrong. */
  wrong(key: string, expected: string, hint?: string): ConfigError {
    return new ConfigError(`${this.#where}: ${key}: expected ${expected}, got ${show(this.raw(key))}`, {
      ...(hint && { hint }),
    });
  }
}

const inRange = (value: unknown, min: number, max: number): boolean =>
  typeof value === "number" && value >= min && value <= max;

const show = (value: unknown): string => (value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80));
