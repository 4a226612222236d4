/** Sizes of each axis, outermost first. A scalar is `[]`. */
export type Shape = readonly number[];

/** One number per axis name: `Dims<"B T C">` is `{ B: number; T: number; C: number }`. */
export type Dims<Names extends string> = Names extends `${infer Head} ${infer Tail}`
  ? { [K in Head]: number } & Dims<Tail>
  : { [K in Names]: number };

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let i = 0; i < shape.length; i++) size *= shape[i]!;
  return size;
}

export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;

export function sameShape(a: Shape, b: Shape): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

/** The shape with another size of the innermost axis. */
export function withLast(shape: Shape, size: number): Shape {
  const changed = shape.slice();
  changed[shape.length - 1] = size;
  return changed;
}
