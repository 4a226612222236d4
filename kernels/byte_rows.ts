import { ShapeError } from "../src/errors.ts";
import { defineKernel } from "../src/gpu/kernel.ts";
import { GROUP } from "../src/tensor/quantized.ts";
import type { Tensor } from "../src/tensor/tensor.ts";

const kernel = defineKernel({
  name: "byte_rows",
  source: new URL("../shaders/byte_rows.wgsl", import.meta.url),
  buffers: { x: "read", codes: "write", scales: "write" },
  params: { groups: "u32" },
  overrides: ["WORKGROUP_SIZE", "EVEN_ODD"],
});

const WORKGROUP_SIZE = 64;
/** Threads of a group of inputs. */
const SHARE = 4;

/** How the codes of 8 inputs fill two words: in order, or those with even numbers before those with odd ones. */
export type ByteOrder = "plain" | "even-odd";

/**
 * Rounds rows to 8 bits, in groups of 32 with a scale each. Needs an adapter with `packedDot`.
 *
 * @param x  f32 or f16 [R, C], C a multiple of 32
 * @returns  codes −127 to 127, four in a word, u32 [R, C/4]; scales, and what times the sum of the codes, f32 [R, C/32, 2].
 *           A group of zeros has scale 0
 * @throws ShapeError when C is no multiple of 32
 */
export function byteRows(x: Tensor, order: ByteOrder): { codes: Tensor; scales: Tensor } {
  const { R, C } = x.dims("R C");
  if (C % GROUP !== 0) throw new ShapeError(`byte_rows: x: expected rows of a multiple of ${GROUP} elements, got ${C}`);
  const codes = x.gpu.empty([R, C / 4], "u32");
  const scales = x.gpu.empty([R, C / GROUP, 2], "f32");
  const groups = (R * C) / GROUP;
  kernel.run(
    { x, codes, scales },
    { groups },
    {
      workgroups: Math.ceil((groups * SHARE) / WORKGROUP_SIZE),
      overrides: { WORKGROUP_SIZE, EVEN_ODD: order === "even-odd" },
    },
  );
  return { codes, scales };
}
