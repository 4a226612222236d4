import type { AdapterSummary } from "../src/gpu/device.ts";

/** True where subgroups of exactly 32 threads multiply 16 × 16 matrices of halfs and add in f32: tensor cores. */
export const hasMatrices = ({ f16, subgroupMinSize, subgroupMaxSize, subgroupMatrices }: AdapterSummary): boolean =>
  f16 &&
  subgroupMinSize === 32 &&
  subgroupMaxSize === 32 &&
  subgroupMatrices.some(
    ({ component, result, M, N, K }) => component === "f16" && result === "f32" && M === 16 && N === 16 && K === 16,
  );

/** Rows of a workgroup's tile, which is 64 outputs wide, by variant. */
export const MATRIX_ROWS = { matrix: 64, matrix_tall: 128 } as const;
/** Fewer rows leave most of a tile empty. */
export const MIN_MATRIX_ROWS = 16;
