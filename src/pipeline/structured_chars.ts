/** Code points as sorted, disjoint, inclusive ranges. */
export type CharSet = readonly (readonly [first: number, last: number])[];

/** All characters; surrogates are none. */
const ALL: CharSet = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];
export const DIGIT: CharSet = [[0x30, 0x39]];
export const WORD: CharSet = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
export const SPACE: CharSet = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
export const LINE_END: CharSet = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];

export const intersect = (a: CharSet, b: CharSet): CharSet =>
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

/** Ranges of bytes that follow each other: every character between two in UTF-8, and nothing else. */
export function utf8Ranges(first: number, last: number): [low: number, high: number][][] {
  for (const limit of [0x7f, 0x7ff, 0xffff]) {
    if (first <= limit && last > limit) return [...utf8Ranges(first, limit), ...utf8Ranges(limit + 1, last)];
  }
  const [low, high] = [first, last].map((code) => new TextEncoder().encode(String.fromCodePoint(code)));
  return between([...low!], [...high!]);
}

/** As `utf8Ranges`, of the bytes from one character's to another's of the same length. */
function between(low: readonly number[], high: readonly number[]): [number, number][][] {
  const [a, b] = [low[0]!, high[0]!];
  if (low.length === 1) return [[[a, b]]];
  const [lowest, highest] = [low.slice(1).map(() => 0x80), high.slice(1).map(() => 0xbf)];
  if (a === b) return between(low.slice(1), high.slice(1)).map((rest) => [[a, a], ...rest]);
  const from = low.slice(1).every((byte) => byte === 0x80) ? a : a + 1;
  const to = high.slice(1).every((byte) => byte === 0xbf) ? b : b - 1;
  return [
    ...(from > a ? between(low.slice(1), highest).map((rest): [number, number][] => [[a, a], ...rest]) : []),
    ...(from <= to ? [[[from, to] as [number, number], ...highest.map((): [number, number] => [0x80, 0xbf])]] : []),
    ...(to < b ? between(lowest, high.slice(1)).map((rest): [number, number][] => [[b, b], ...rest]) : []),
  ];
}
