import { type Expression, either, escapedChar, literal, terminal } from "./structured_rules.ts";

/** Code points as sorted, disjoint, inclusive ranges. */
export type CharSet = readonly (readonly [first: number, last: number])[];

/** All characters but NUL, which no answer needs, and surrogates, which are none. */
const ALL: CharSet = [
  [1, 0xd7ff],
  [0xe000, 0x10ffff],
];
export const DIGIT: CharSet = [[0x30, 0x39]];
export const WORD: CharSet = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
export const SPACE: CharSet = [
  [0x09, 0x0d],
  [0x20, 0x20],
];
export const LINE_END: CharSet = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
];
const ASCII: CharSet = [[0, 0x7f]];

const intersect = (a: CharSet, b: CharSet): CharSet =>
  a
    .flatMap(([first, last]) => b.map(([low, high]): [number, number] => [Math.max(first, low), Math.min(last, high)]))
    .filter(([first, last]) => first <= last)
    .sort((x, y) => x[0] - y[0]);

export function complement(set: CharSet): CharSet {
  const gaps: [number, number][] = [];
  let next = 0;
  for (const [first, last] of [...set].sort((x, y) => x[0] - y[0])) {
    if (first > next) gaps.push([next, first - 1]);
    next = Math.max(next, last + 1);
  }
  if (next <= 0x10ffff) gaps.push([next, 0x10ffff]);
  return intersect(gaps, ALL);
}

export const charSet = (chars: string): CharSet =>
  Array.from(chars, (char): [number, number] => [char.codePointAt(0)!, char.codePointAt(0)!]);

const ranges = (set: CharSet): string =>
  set
    .map(([first, last]) => (first === last ? escapedChar(first) : `${escapedChar(first)}-${escapedChar(last)}`))
    .join("");
const sizeOf = (set: CharSet): number => set.reduce((size, [first, last]) => size + last - first + 1, 0);

/** Characters past ASCII that a set may have, unless it has all: each is written out. */
export const MAX_LISTED = 256;

/**
 * One character of the set. XGrammar's classes know ASCII only: the rest is all in or all out, or written out.
 *
 * @returns undefined where that cannot be said
 */
export function oneOf(set: CharSet): Expression | undefined {
  const ascii = intersect(set, ASCII);
  const beyond = intersect(set, complement(ASCII));
  if (sizeOf(beyond) === sizeOf(complement(ASCII)))
    return terminal(`[^${ranges(intersect(complement(ascii), ASCII))}\\u0000]`);
  if (sizeOf(beyond) > MAX_LISTED) return undefined;
  const listed = beyond.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => literal(String.fromCodePoint(first + i))),
  );
  return either(...(ascii.length > 0 ? [terminal(`[${ranges(ascii)}]`)] : []), ...listed);
}

/** One character of the set, or of its part in ASCII where no more can be said. */
export const oneOfSome = (set: CharSet): Expression => oneOf(set) ?? terminal(`[${ranges(intersect(set, ASCII))}]`);

/** What JSON writes with a backslash within strings. */
const MUST_ESCAPE: CharSet = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
];
/** A character of a JSON string that stands for itself. */
export const JSON_PLAIN = complement(MUST_ESCAPE);

/** One character of the set within a JSON string. */
export function inJsonString(set: CharSet): Expression | undefined {
  const plain = intersect(set, JSON_PLAIN);
  const options = plain.length > 0 ? [oneOf(plain)] : [];
  if (options[0] === undefined && plain.length > 0) return undefined;
  for (const [first, last] of intersect(set, MUST_ESCAPE)) {
    for (let code = first; code <= last; code++) {
      options.push(literal(JSON.stringify(String.fromCodePoint(code)).slice(1, -1)));
    }
  }
  return either(...(options as Expression[]));
}
