import { defineKernel } from "../src/gpu/kernel.ts";
import { expectShape, type Tensor } from "../src/tensor/tensor.ts";
import { likeliest } from "./sample.ts";

const kernel = defineKernel({
  name: "sample_logprobs",
  source: new URL("../shaders/sample_logprobs.wgsl", import.meta.url),
  buffers: { x: "read", maxima: "read", state: "read", candidates: "read", token: "read", y: "write" },
  params: { rows: "u32", columns: "u32", groups: "u32", count: "u32" },
});

/**
 * Log softmax of each row at a token and at the largest elements.
 *
 * @param logits      f32 [R, V], V up to 2^18
 * @param token       u32 [R]
 * @param count       n, from 0
 * @param vocabulary  elements from here on are left out of sum and result. Default V
 * @param y           where to write. Default: a new tensor
 * @returns           f32 [2, R, 1 + n]: log probabilities of the token and of the n likeliest, best first, the lower id first
 *                    on ties; then their ids, -1 past the last. Below -1e37 stands for minus infinity
 */
export function sampleLogprobs(logits: Tensor, token: Tensor, count: number, vocabulary?: number, y?: Tensor): Tensor {
  const { R, V } = logits.dims("R V");
  const result = y ?? logits.gpu.empty([2, R, 1 + count], "f32");
  expectShape("sample_logprobs: token", token, [R]);
  expectShape("sample_logprobs: y", result, [2, R, 1 + count]);
  logits.gpu.scope(() => {
    const { x, maxima, state, candidates, groups } = likeliest(logits, count, vocabulary);
    kernel.run(
      { x, maxima, state, candidates, token, y: result },
      { rows: R, columns: V, groups, count },
      { workgroups: [1, R] },
    );
    return undefined;
  });
  return result;
}
