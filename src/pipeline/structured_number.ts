import { InputError } from "../errors.ts";
import { charSet } from "./structured_chars.ts";
import { type Expression, either, inOrder, literal, maybe, oneOf, times } from "./structured_rules.ts";

/** Bounds of a number: integers. */
export interface NumberLimits {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

/** Digits before the point, and of both parts together: all such numbers are told apart and finite in float64. */
const MAX_DIGITS = 15;
const digit = (from: number | string, to: number | string): Expression =>
  oneOf([[0x30 + Number(from), 0x30 + Number(to)]]);
const DIGIT = digit(0, 9);
const MINUS = literal("-");
const fractionOf = (places: number): Expression => maybe(inOrder(literal("."), times(DIGIT, 1, places)));

/** Whole numbers within the limits, as JSON writes them. */
export function integerGrammar(limits: NumberLimits): Expression {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = limits;
  const low = Math.max(minimum, exclusiveMinimum + 1);
  const high = Math.min(maximum, exclusiveMaximum - 1);
  const options: Expression[] = [];
  if (low < 0) options.push(inOrder(MINUS, digits(Math.max(1, -high), -low)));
  if (high >= 0) options.push(digits(Math.max(0, low), high));
  if (low > high) throw nothing(limits);
  return either(...options);
}

/** Numbers within the limits; with an exponent only where there are none. */
export function numberGrammar(limits: NumberLimits): Expression {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = limits;
  if (Object.keys(limits).length === 0) {
    const exponent = inOrder(oneOf(charSet("eE")), maybe(oneOf(charSet("+-"))), times(DIGIT, 1, 2));
    return inOrder(maybe(MINUS), digits(0, Infinity), fractionOf(MAX_DIGITS), maybe(exponent));
  }
  const low = Math.max(minimum, exclusiveMinimum);
  const high = Math.min(maximum, exclusiveMaximum);
  const open = { low: exclusiveMinimum === low, high: exclusiveMaximum === high };
  const options: Expression[] = [];
  if (low < 0)
    options.push(
      ...magnitudes(Math.max(0, -high), -low, high <= 0 && open.high, open.low).map((m) => inOrder(MINUS, m)),
    );
  if (high >= 0) options.push(...magnitudes(Math.max(0, low), high, low >= 0 && open.low, open.high));
  if (low > high || options.length === 0) throw nothing(limits);
  return either(...options);
}

const nothing = (limits: NumberLimits): InputError =>
  new InputError(`json_schema: no number is within ${JSON.stringify(limits)}`);

/** Decimal numbers from `low` to `high`, integers of at least 0; an open end is left out. */
function magnitudes(low: number, high: number, openLow: boolean, openHigh: boolean): Expression[] {
  if (low > high || (low === high && (openLow || openHigh))) return [];
  const places = MAX_DIGITS - String(high === Infinity ? low : high).length;
  const exactly = (value: number): Expression =>
    inOrder(literal(String(value)), maybe(inOrder(literal("."), times(literal("0"), 1, places))));
  if (low === high) return [exactly(low)];
  const some = inOrder(times(DIGIT, 0, places - 1), digit(1, 9));
  const first = openLow ? low + 1 : low;
  return [
    ...(openLow ? [inOrder(literal(`${low}.`), some)] : []),
    ...(first < high ? [inOrder(digits(first, high - 1), fractionOf(places))] : []),
    ...(openHigh || high === Infinity ? [] : [exactly(high)]),
  ];
}

/** Decimal integers from `low` to `high` without leading zeros, both at least 0. */
function digits(low: number, high: number): Expression {
  const any = inOrder(digit(1, 9), times(DIGIT, 0, MAX_DIGITS - 1));
  if (low <= 1 && high === Infinity) return low === 0 ? either(literal("0"), any) : any;
  const options: Expression[] = [];
  const last = Math.min(high, 10 ** MAX_DIGITS - 1);
  for (let from = low; from <= last; ) {
    const { length } = String(from);
    const to = Math.min(last, 10 ** length - 1);
    options.push(sameLength(String(from), String(to)));
    from = to + 1;
  }
  return either(...options);
}

/** Digit strings from one to another of the same length. */
function sameLength(from: string, to: string): Expression {
  const rest = from.length - 1;
  const any = times(DIGIT, rest, rest);
  if (from === to) return literal(from);
  if (rest === 0) return digit(from, to);
  if (/^0*$/.test(from.slice(1)) && /^9*$/.test(to.slice(1))) return inOrder(digit(from[0]!, to[0]!), any);
  if (from[0] === to[0]) return inOrder(literal(from[0]!), sameLength(from.slice(1), to.slice(1)));
  const [first, last] = [Number(from[0]) + 1, Number(to[0]) - 1];
  return either(
    inOrder(literal(from[0]!), sameLength(from.slice(1), "9".repeat(rest))),
    ...(first <= last ? [inOrder(digit(first, last), any)] : []),
    inOrder(literal(to[0]!), sameLength("0".repeat(rest), to.slice(1))),
  );
}
