import { ShapeError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Block } from "../gpu/pool.ts";
import { type Dims, type Shape, sameShape, showShape, sizeOf } from "./shape.ts";

export type DType = "f32" | "f16" | "u32";

/** Bytes of one element. */
export const BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, u32: 4 };

const AXES = new Map<string, readonly string[]>();

/** Names of axes, taken apart once: a decode step asks for some hundred. */
function axesOf(names: string): readonly string[] {
  const known = AXES.get(names);
  if (known) return known;
  const axes = names.split(" ");
  AXES.set(names, axes);
  return axes;
}

/**
 * A view of GPU memory: shape, element type, and the block that holds the elements, row-major and contiguous.
 *
 * A tensor made inside `gpu.scope()` dies with the scope unless the scope returns it; one made outside lives until
 * `gpu.release()`. Views (`reshape`, `rows`) share the block and do not extend its life.
 */
export class Tensor {
  readonly gpu: Gpu;
  readonly block: Block;
  /** Bytes from the start of the block to the first element. */
  readonly offset: number;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly size: number;
  readonly bytes: number;
  /** What `dims` was asked for last, and what it answered: weights are asked at every step. */
  #names: string | undefined;
  #sizes: Readonly<Record<string, number>> | undefined;

  constructor(gpu: Gpu, block: Block, shape: Shape, dtype: DType, offset = 0) {
    this.gpu = gpu;
    this.block = block;
    this.shape = shape;
    this.dtype = dtype;
    this.offset = offset;
    this.size = sizeOf(shape);
    this.bytes = this.size * BYTES[dtype];
  }

  /**
   * Names the axes and returns their sizes; throws ShapeError when the rank differs.
   *
   *     const { T, D } = x.dims("T D");
   */
  dims<const Names extends string>(names: Names): Readonly<Dims<Names>> {
    if (names === this.#names) return this.#sizes as Dims<Names>;
    const axes = axesOf(names);
    if (axes.length !== this.shape.length) {
      throw new ShapeError(`expected shape [${axes.join(", ")}], got ${showShape(this.shape)}`);
    }
    const sizes: Record<string, number> = {};
    for (let i = 0; i < axes.length; i++) sizes[axes[i]!] = this.shape[i]!;
    this.#names = names;
    this.#sizes = sizes;
    return sizes as Dims<Names>;
  }

  /** Same elements under another shape; no data moves. */
  reshape(shape: Shape): Tensor {
    if (sameShape(shape, this.shape)) return this;
    if (sizeOf(shape) !== this.size) {
      throw new ShapeError(`reshape: expected ${showShape(shape)} of ${this.size} elements, got ${sizeOf(shape)}`);
    }
    return new Tensor(this.gpu, this.block, shape, this.dtype, this.offset);
  }

  /** Slices `from` (inclusive) to `to` (exclusive) of the outermost axis; no data moves. */
  rows(from: number, to: number): Tensor {
    const count = this.shape[0] ?? 0;
    if (from === 0 && to === count) return this;
    const rest = this.shape.slice(1);
    if (!(from >= 0 && from <= to && to <= count)) {
      throw new ShapeError(`rows: expected a range within 0…${count}, got ${from}…${to}`);
    }
    const offset = this.offset + from * sizeOf(rest) * BYTES[this.dtype];
    return new Tensor(this.gpu, this.block, [to - from, ...rest], this.dtype, offset);
  }

  /** A new, uninitialised tensor of this element type (and this shape unless another is given). */
  like(shape: Shape = this.shape): Tensor {
    return this.gpu.empty(shape, this.dtype);
  }
}

/** Throws ShapeError unless `tensor` has exactly the shape `expected`; `what` is the caller's name for it. */
export function expectShape(what: string, tensor: Tensor, expected: Shape): void {
  if (!sameShape(tensor.shape, expected)) {
    throw new ShapeError(`${what}: expected shape ${showShape(expected)}, got ${showShape(tensor.shape)}`);
  }
}

/** Throws ShapeError unless `tensor` has one of the element types `expected`. */
export function expectDType(what: string, tensor: Tensor, ...expected: DType[]): void {
  if (!expected.includes(tensor.dtype)) {
    throw new ShapeError(`${what}: expected element type ${expected.join(" or ")}, got ${tensor.dtype}`);
  }
}
