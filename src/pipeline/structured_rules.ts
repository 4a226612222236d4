import { type CharSet, charSet } from "./structured_chars.ts";

/** What a part of a text may be. */
export type Expression =
  | { readonly kind: "chars"; readonly set: CharSet }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "either"; readonly options: readonly Expression[] }
  | { readonly kind: "times"; readonly of: Expression; readonly from: number; readonly to: number }
  | { readonly kind: "rule"; readonly name: string };

/** Expressions by name, which may name each other; the first is what a whole text is. */
export type Grammar = ReadonlyMap<string, Expression>;

/** One character of the set. */
export const oneOf = (set: CharSet): Expression => ({ kind: "chars", set });

export const inOrder = (...parts: readonly Expression[]): Expression => ({ kind: "sequence", parts });

/** The empty text. */
export const NOTHING: Expression = inOrder();

/** Exactly this text. */
export const literal = (text: string): Expression => inOrder(...Array.from(text, (char) => oneOf(charSet(char))));

export const either = (...options: readonly Expression[]): Expression =>
  options.length === 1 ? options[0]! : { kind: "either", options };

export const times = (of: Expression, from: number, to: number): Expression => ({ kind: "times", of, from, to });

export const maybe = (of: Expression): Expression => times(of, 0, 1);

export const rule = (name: string): Expression => ({ kind: "rule", name });
