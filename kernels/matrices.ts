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

/** Subgroups that share outputs, by variant of the shaders with tiles of 64 × 64; `matrix_parts` has workgroups that do. */
export const MATRIX_SPLITS = { matrix: 1, matrix_deep: 2, matrix_parts: 1 } as const;
export type MatrixVariant = keyof typeof MATRIX_SPLITS;

export const isMatrix = (variant: string): variant is MatrixVariant => Object.hasOwn(MATRIX_SPLITS, variant);

/** Fewer tiles leave most of a GPU idle, unless each of them takes more subgroups. */
const MANY_TILES = 512;

interface Sizes {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** The variants that may serve this shape on this adapter, best guess first: fewer than 16 rows leave most of a tile empty. */
export function matrixCandidates(sizes: Sizes, adapter: AdapterSummary): readonly MatrixVariant[] {
  const { rows, inputs, outputs } = sizes;
  if (rows < 16 || outputs % 4 !== 0 || !hasMatrices(adapter)) return [];
  if (tilesOf(rows, outputs) >= MANY_TILES) return ["matrix", "matrix_deep"];
  if (partsOf(sizes) === 1) return ["matrix_deep", "matrix"];
  return inputs >= LONG_INPUTS ? ["matrix_parts", "matrix_deep", "matrix"] : ["matrix_deep", "matrix_parts", "matrix"];
}

/** Inputs of a part at least, and parts at most. */
const PART_INPUTS = 224;
const MAX_PARTS = 8;
/** A tile waits for memory once per slice: with so many inputs that outweighs the run that adds up the parts. */
const LONG_INPUTS = 2048;

/**
 * Into how many parts the inputs of a product are cut, each with workgroups of its own, so that it fills the GPU; 1 where its
 * tiles do that, or where the parts would be short.
 */
export const partsOf = ({ rows, inputs, outputs }: Sizes): number =>
  Math.max(1, Math.min(MAX_PARTS, Math.floor(MANY_TILES / tilesOf(rows, outputs)), Math.floor(inputs / PART_INPUTS)));

/** Workgroups that cover an output of this size. */
export const tilesOf = (rows: number, outputs: number, side = 64): number =>
  Math.ceil(rows / side) * Math.ceil(outputs / side);
