/** Sizes of each axis, outermost first. A scalar is `[]`. */
export type Shape = readonly number[];

/** One number per axis name: `Dims<"B T C">` is `{ B: number; T: number; C: number }`. */
export type Dims<Names extends string> = Names extends `${infer Head} ${infer Tail}`
  ? { [K in Head]: number } & Dims<Tail>
  : { [K in Names]: number };

/** Number of elements. */
export const sizeOf = (shape: Shape): number => shape.reduce((size, axis) => size * axis, 1);

export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((axis, i) => axis === b[i]);
