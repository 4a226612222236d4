import type { Tensor } from "../src/tensor/tensor.ts";

/** The tensor, or one of its shape where this one was only rehearsed and has no memory: to time a kernel with. */
export const standIn = (tensor: Tensor): Tensor =>
  tensor.block.buffer ? tensor : tensor.gpu.empty(tensor.shape, tensor.dtype);
