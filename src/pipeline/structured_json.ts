import { charSet, JSON_PLAIN, oneOfSome } from "./structured_chars.ts";
import { numberGrammar } from "./structured_number.ts";
import {
  type Expression,
  either,
  inOrder,
  literal,
  maybe,
  NOTHING,
  rule,
  terminal,
  times,
} from "./structured_rules.ts";

// What JSON is made of, as values and as expressions.

/** A schema's keywords. */
export type Keywords = { readonly [keyword: string]: unknown };

export const TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"] as const;
export type Type = (typeof TYPES)[number];

export const typesOf = (value: unknown): Type[] => {
  if (value === null) return ["null"];
  if (Array.isArray(value)) return ["array"];
  if (typeof value === "number") return Number.isInteger(value) ? ["integer", "number"] : ["number"];
  return [typeof value as Type];
};

/** Whole numbers are integers too. */
export const widened = (type: Type): Type[] => (type === "number" ? ["number", "integer"] : [type]);

/** The only values that are valid, as JSON; undefined when there is no such list. */
export const fixedValues = (schema: Keywords): string[] | undefined => {
  const values = "const" in schema ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : undefined;
  return values?.map((value) => JSON.stringify(value));
};

export const MANY = Number.POSITIVE_INFINITY;
export const ANY = rule("any");
export const CHAR = rule("char");
export const STRING = rule("string");
const SPACE = rule("space");
export const COMMA = rule("comma");
export const COLON = rule("colon");
const QUOTE = literal('"');
export const PLAIN = oneOfSome(JSON_PLAIN);
export const quoted = (content: Expression): Expression => inOrder(QUOTE, content, QUOTE);
export const enclosed = (open: string, content: Expression, close: string): Expression =>
  inOrder(literal(open), SPACE, content, SPACE, literal(close));
/** One or more, with commas. */
export const listed = (item: Expression): Expression => inOrder(item, times(inOrder(COMMA, item), 0, MANY));

/** The rules that all schemas share. */
export function jsonRules(): [string, Expression][] {
  const hex = terminal("[0-9a-fA-F]");
  // Escapes for surrogates are left out: alone they are no character.
  const code = either(
    inOrder(terminal("[0-9a-cA-CefEF]"), hex, hex, hex),
    inOrder(terminal("[dD]"), terminal("[0-7]"), hex, hex),
  );
  const escaped = inOrder(literal("\\"), either(oneOfSome(charSet('"\\/bfnrt')), inOrder(literal("u"), code)));
  const indent = inOrder(literal("\n"), times(oneOfSome(charSet(" \t")), 0, 16));
  return [
    ["space", either(NOTHING, literal(" "), indent)],
    ["char", either(PLAIN, escaped)],
    ["string", quoted(times(CHAR, 0, MANY))],
    ["comma", inOrder(SPACE, literal(","), SPACE)],
    ["colon", inOrder(SPACE, literal(":"), SPACE)],
    [
      "any",
      either(...["null", "true", "false"].map(literal), STRING, numberGrammar({}), rule("array"), rule("object")),
    ],
    ["array", enclosed("[", maybe(listed(ANY)), "]")],
    ["object", enclosed("{", maybe(listed(inOrder(STRING, COLON, ANY))), "}")],
  ];
}
