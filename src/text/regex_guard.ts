/** Longest pattern accepted; the longest in use (o200k) has about 600 characters. */
const MAX_LENGTH = 4096;
/** A repetition of up to this many counts as unbounded: nested, it is as slow. */
const MANY = 16;
/** Each further unbounded repetition in a row can multiply the time by the length of the text. */
const MAX_REPEATS = 3;

interface Group {
  /** Unbounded repetitions in the current alternative, and whether any alternative has one. */
  repeats: number;
  repeating: boolean;
  alternatives: boolean;
}

/**
 * Why matching this pattern could take forever, or undefined when it cannot.
 *
 * JavaScript's backtracking has no time limit, and a pattern from a file is not to be trusted. Refused are repetitions
 * of a group that itself repeats or chooses, as in `(a+)+` or `(a|a)*`, and more than three repetitions in one
 * alternative. Tokenizers split text with patterns that need none of these.
 */
export function whyEndless(pattern: string): string | undefined {
  if (pattern.length > MAX_LENGTH) return `it has ${pattern.length} characters, at most ${MAX_LENGTH} are read`;
  const open = (): Group => ({ repeats: 0, repeating: false, alternatives: false });
  const groups: Group[] = [open()];
  let closed: Group | undefined; // the group that ended just before `at`

  for (let at = 0; at < pattern.length; ) {
    const group = groups.at(-1)!;
    const quantifier = /^(?:[*+?]|\{\d*,?\d*\})[?+]?/.exec(pattern.slice(at, at + 24))?.[0];
    if (quantifier && at > 0) {
      if (isMany(quantifier)) {
        if (closed?.repeating || closed?.alternatives) return "it repeats a group that itself repeats or chooses";
        group.repeating = true;
        group.repeats++;
        if (group.repeats > MAX_REPEATS) return `it has more than ${MAX_REPEATS} repetitions in a row`;
      }
      at += quantifier.length;
      closed = undefined;
      continue;
    }
    closed = undefined;
    const char = pattern[at];
    if (char === "(") groups.push(open());
    else if (char === "|") {
      group.alternatives = true;
      group.repeats = 0;
    } else if (char === ")" && groups.length > 1) {
      closed = groups.pop()!;
      const outer = groups.at(-1)!;
      outer.repeating ||= closed.repeating;
      outer.repeats += closed.repeating ? 1 : 0;
    }
    at += char === "[" ? classLength(pattern, at) : char === "\\" ? escapeLength(pattern, at) : 1;
    if (char === "(" && pattern[at] === "?") at++; // of `(?:`, `(?i:`, `(?!`: not a quantifier
  }
  return undefined;
}

function isMany(quantifier: string): boolean {
  const bounds = /^\{(\d*)(,?)(\d*)\}/.exec(quantifier);
  if (!bounds) return !quantifier.startsWith("?");
  const [, least = "", comma, most = ""] = bounds;
  return comma && !most ? true : Number(most || least) >= MANY;
}

/** Length of `\n`, `\p{L}`, `\x{1F600}` and the like. */
const escapeLength = (pattern: string, at: number): number =>
  /^\\(?:[pPxukg]\{[^}]*\}|[\s\S])/.exec(pattern.slice(at, at + 64))?.[0].length ?? 1;

/** Length of `[...]`, classes inside it included. */
function classLength(pattern: string, start: number): number {
  let depth = 0;
  for (let at = start; at < pattern.length; at += pattern[at] === "\\" ? escapeLength(pattern, at) : 1) {
    if (pattern[at] === "[") depth++;
    if (pattern[at] === "]" && --depth === 0) return at + 1 - start;
  }
  return pattern.length - start;
}
