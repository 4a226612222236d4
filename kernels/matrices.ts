import type { AdapterSummary } from "../src/gpu/device.ts";

/** Of a workgroup, for the largest tiles. */
const MEMORY_BYTES = 48 * 1024;

/** True where subgroups of exactly 32 threads multiply 16 × 16 matrices of halfs and add in f32: tensor cores. */
export const hasMatrices = (adapter: AdapterSummary): boolean => {
  const { f16, subgroupMinSize, subgroupMaxSize, subgroupMatrices, workgroupBytes } = adapter;
  return (
    f16 &&
    workgroupBytes >= MEMORY_BYTES &&
    subgroupMinSize === 32 &&
    subgroupMaxSize === 32 &&
    subgroupMatrices.some(
      ({ component, result, M, N, K }) => component === "f16" && result === "f32" && M === 16 && N === 16 && K === 16,
    )
  );
};

/** Subgroups that share outputs, by variant of the shaders with tiles of 64 × 64. */
export const MATRIX_SPLITS = { matrix: 1, matrix_deep: 2 } as const;
export type MatrixVariant = keyof typeof MATRIX_SPLITS;

export const isMatrix = (variant: string): variant is MatrixVariant => Object.hasOwn(MATRIX_SPLITS, variant);

/** Fewer tiles leave most of a GPU idle, unless each of them takes more subgroups. */
const MANY_TILES = 512;

/** The variants that may serve this many rows and outputs on this adapter, best guess first: fewer than 16 rows leave most of a tile empty. */
export function matrixCandidates(rows: number, outputs: number, adapter: AdapterSummary): readonly MatrixVariant[] {
  if (rows < 16 || outputs % 4 !== 0 || !hasMatrices(adapter)) return [];
  return tilesOf(rows, outputs) < MANY_TILES ? ["matrix_deep", "matrix"] : ["matrix", "matrix_deep"];
}

/** Workgroups that cover an output of this size. */
export const tilesOf = (rows: number, outputs: number, side = 64): number =>
  Math.ceil(rows / side) * Math.ceil(outputs / side);
