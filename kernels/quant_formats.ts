/** The number by which shaders know a format. */
export const FORMATS = { int4: 0, "int4-affine": 1, int8: 2 } as const;
