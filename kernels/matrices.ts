import type { AdapterSummary } from "../src/gpu/device.ts";

/** True where subgroups of exactly 32 threads multiply 16 × 16 matrices of halfs and add in f32: tensor cores. */
export const hasMatrices = ({ f16, subgroupMinSize, subgroupMaxSize, subgroupMatrices }: AdapterSummary): boolean =>
  f16 &&
  subgroupMinSize === 32 &&
  subgroupMaxSize === 32 &&
  subgroupMatrices.some(
    ({ component, result, M, N, K }) => component === "f16" && result === "f32" && M === 16 && N === 16 && K === 16,
  );

/** What makes the variants of the shaders with matrices: rows of a tile, which is 64 outputs wide, and subgroups that share outputs. */
export const MATRIX_TILES = {
  matrix: { TILE_ROWS: 64, SPLIT: 1 },
  matrix_deep: { TILE_ROWS: 64, SPLIT: 2 },
  matrix_tall: { TILE_ROWS: 128, SPLIT: 1 },
} as const;
export type MatrixVariant = keyof typeof MATRIX_TILES;

export const isMatrix = (variant: string): variant is MatrixVariant => variant in MATRIX_TILES;

/** The variants for this many rows; fewer than 16 leave most of a tile empty. */
export function matrixCandidates(rows: number): readonly MatrixVariant[] {
  if (rows < 16) return [];
  return rows > 32 ? ["matrix", "matrix_deep", "matrix_tall"] : ["matrix_deep", "matrix"];
}
