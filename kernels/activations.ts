/** What may follow a product, as shaders count them. GELU is the exact one, by the error function. */
export const ACTIVATIONS = { none: 0, gelu: 1, relu: 2, sigmoid: 3 } as const;

export type Activation = keyof typeof ACTIVATIONS;
