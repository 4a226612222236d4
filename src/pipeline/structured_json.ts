import { type CharSet, charSet, complement, intersect } from "./structured_chars.ts";
import { numberGrammar } from "./structured_number.ts";
import { type Expression, either, inOrder, literal, maybe, oneOf, rule, times } from "./structured_rules.ts";

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

/** What JSON writes with a backslash within strings. */
const MUST_ESCAPE: CharSet = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
];
/** A character of a string that stands for itself. */
export const PLAIN_SET = complement(MUST_ESCAPE);

/** One character of the set within a string. */
export function inString(set: CharSet): Expression {
  const escapes = intersect(set, MUST_ESCAPE).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => JSON.stringify(String.fromCodePoint(first + i)).slice(1, -1)),
  );
  return either(oneOf(intersect(set, PLAIN_SET)), ...escapes.map(literal));
}

/** A character of a string, in any spelling; escapes for surrogates are left out, as alone they are no character. */
function charGrammar(): Expression {
  const hex = oneOf(charSet("0123456789abcdefABCDEF"));
  const code = either(
    inOrder(oneOf(charSet("0123456789abcefABCEF")), hex, hex, hex),
    inOrder(oneOf(charSet("dD")), oneOf(charSet("01234567")), hex, hex),
  );
  const escaped = either(oneOf(charSet('"\\/bfnrt')), inOrder(literal("u"), code));
  return either(PLAIN, inOrder(literal("\\"), escaped));
}

export const MANY = Number.POSITIVE_INFINITY;
export const PLAIN = oneOf(PLAIN_SET);
export const CHAR = charGrammar();
const QUOTE = literal('"');
export const quoted = (content: Expression): Expression => inOrder(QUOTE, content, QUOTE);
export const STRING = quoted(times(CHAR, 0, MANY));
/** Models indent, but some would never stop: one space, or one line end and what indents. */
const SPACE = maybe(either(literal(" "), inOrder(literal("\n"), times(oneOf(charSet(" \t")), 0, 16))));
export const COMMA = inOrder(SPACE, literal(","), SPACE);
export const COLON = inOrder(SPACE, literal(":"), SPACE);
export const enclosed = (open: string, content: Expression, close: string): Expression =>
  inOrder(literal(open), SPACE, content, SPACE, literal(close));
/** One or more, with commas. */
export const listed = (item: Expression): Expression => inOrder(item, times(inOrder(COMMA, item), 0, MANY));

/** Any value. */
export const ANY = rule("any");
/** The rule behind `ANY`. */
export const anyRule = (): [string, Expression] => [
  "any",
  either(
    ...["null", "true", "false"].map(literal),
    STRING,
    numberGrammar({}),
    enclosed("[", maybe(listed(ANY)), "]"),
    enclosed("{", maybe(listed(inOrder(STRING, COLON, ANY))), "}"),
  ),
];
