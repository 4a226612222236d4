// Double-precision erf for the references; the shaders use an approximation.

import type { Activation } from "./activations.ts";

const ROOT_PI = Math.sqrt(Math.PI);

/** The error function, to about 1e-14: its power series near zero, the continued fraction of erfc beyond. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / ROOT_PI) * sum;
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / (ROOT_PI * fraction));
}

/** GELU as defined: x · Φ(x). */
export const exactGelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2));

/** What the shaders approximate, by name. */
export const exactActivations: Readonly<Record<Activation, (v: number) => number>> = {
  none: (v) => v,
  gelu: exactGelu,
  relu: (v) => Math.max(v, 0),
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
};
