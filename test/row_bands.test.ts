import assert from "node:assert/strict";
import { test } from "node:test";
import { nmse } from "../kernels/case.ts";
import { depthwiseConv2d, pickDepthwise } from "../kernels/depthwise_conv2d.ts";
import { embed } from "../kernels/embed.ts";
import { im2col } from "../kernels/im2col.ts";
import { resizeBicubic } from "../kernels/resize.ts";
import { type ConvRows, rowBands } from "../kernels/row_bands.ts";
import { scaleBytes } from "../kernels/scale_bytes.ts";
import { ShapeError } from "../src/errors.ts";
import { toHalfArray } from "../src/tensor/half.ts";
import type { Shape } from "../src/tensor/shape.ts";
import { sizeOf } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { gpu } from "./gpu.ts";

/** Runs `body` as if no binding could be larger than `bytes`. */
function withMaxBinding<Result>(bytes: number, body: () => Result): Result {
  const real = gpu.maxBindingBytes;
  Object.assign(gpu, { maxBindingBytes: bytes });
  try {
    return body();
  } finally {
    Object.assign(gpu, { maxBindingBytes: real });
  }
}

/** The result of `body` and how many kernel runs it took, with whole bindings and with small ones. */
async function inBothWays(bytes: number, body: () => Tensor) {
  const results: Float32Array[] = [];
  const runs: number[] = [];
  for (const limit of [gpu.maxBindingBytes, bytes]) {
    const before = gpu.dispatches;
    const kept = withMaxBinding(limit, () => gpu.scope(() => gpu.keep(body())));
    runs.push(gpu.dispatches - before);
    results.push(await gpu.read(kept));
    gpu.release(kept);
  }
  const [whole, parts] = results as [Float32Array, Float32Array];
  return { whole, parts, runs };
}

function wave(shape: Shape, dtype: "f32" | "f16" = "f32"): Tensor {
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i * 1.7) + (i % 13));
  return gpu.upload(shape, dtype, dtype === "f16" ? toHalfArray(data) : data);
}

const conv: ConvRows = {
  images: 2,
  height: 9,
  outHeight: 5,
  kernel: 7,
  stride: 2,
  xRowBytes: 192, // a row starts at a multiple of 256 bytes every 4 rows
  yRowBytes: 384, // … every 2 rows
};

test("bands cover every output row once, hold the rows they read, and start where buffers may", () => {
  for (const maxBytes of [2048, 2304, 3072]) {
    const bands = rowBands(conv, maxBytes);
    assert.ok(bands.length > 1);
    const covered = bands.flatMap(({ first, rows }) => Array.from({ length: rows }, (_, i) => first + i));
    assert.deepEqual(covered, [...Array(10).keys()]);
    for (const { first, rows, x, y } of bands) {
      assert.equal((x.from * conv.xRowBytes) % 256, 0);
      assert.equal((y.from * conv.yRowBytes) % 256, 0);
      assert.ok((x.to - x.from) * conv.xRowBytes <= maxBytes);
      assert.ok((y.to - y.from) * conv.yRowBytes <= maxBytes);
      assert.ok(y.from <= first && first + rows <= y.to && y.to <= 10 && x.to <= 18);
      for (let row = first; row < first + rows; row++) {
        for (let tap = 0; tap < conv.kernel; tap++) {
          const inside = (row % conv.outHeight) * conv.stride - 3 + tap;
          if (inside < 0 || inside >= conv.height) continue;
          const read = Math.floor(row / conv.outHeight) * conv.height + inside;
          assert.ok(x.from <= read && read < x.to, `row ${row} reads ${read}, the band holds ${x.from}…${x.to}`);
        }
      }
    }
  }
});

test("a convolution that fits is one band; one whose window does not fit is refused", () => {
  assert.equal(rowBands(conv, 2 * 9 * 192).length, 1 + 1); // the input fits, the output does not
  assert.equal(rowBands(conv, 2 * 5 * 384).length, 1);
  assert.throws(() => rowBands(conv, 7 * 192), ShapeError);
});

for (const [C, O, K, stride] of [
  [8, 8, 7, 1], // vec4 shader
  [8, 8, 3, 2],
  [6, 12, 7, 2], // scalar shader, rows of any alignment
  [5, 5, 3, 1],
] as const) {
  test(`depthwise_conv2d in bands equals the whole: ${C} → ${O} channels, ${K}×${K}, stride ${stride}`, async () => {
    const { whole, parts, runs } = await inBothWays(16384, () => {
      const options = { bias: wave([O]), stride, activation: "gelu" } as const;
      return depthwiseConv2d(wave([2, 37, 24, C]), wave([K, K, O]), options);
    });
    assert.equal(runs[0], 1);
    assert.ok(runs[1]! > 2);
    assert.deepEqual(parts, whole);
  });
}

test("depthwise_conv2d of halves, in pairs of rows where the GPU is a CPU", { skip: !gpu.adapter.f16 }, async () => {
  const { whole, parts, runs } = await inBothWays(32768, () =>
    depthwiseConv2d(wave([2, 38, 70, 8], "f16"), wave([7, 7, 8], "f16"), { bias: wave([8]), stride: 1 }),
  );
  assert.equal(runs[0], 1);
  assert.ok(runs[1]! > 2);
  assert.deepEqual(parts, whole);
});

test("im2col in bands equals the whole", async () => {
  const { whole, parts, runs } = await inBothWays(16384, () =>
    im2col(wave([2, 41, 17, 3]), { kernel: 3, stride: 2, length: 32 }),
  );
  assert.equal(runs[0], 1);
  assert.ok(runs[1]! >= 2);
  assert.deepEqual(parts, whole);
});

test("embed reads a large table in parts", async () => {
  const ids = [0, 299, 300, 128, 7, 4000];
  const { whole, parts, runs } = await inBothWays(4096, () =>
    embed(gpu.upload([ids.length], "u32", Uint32Array.from(ids)), wave([300, 10]), "f32"),
  );
  assert.deepEqual(runs, [1, 4]);
  assert.deepEqual(parts, whole);
});

test("resize reads a large photo in parts", async () => {
  const source = { width: 30, height: 700 };
  const { whole, parts, runs } = await inBothWays(45056, () => {
    const words = Uint32Array.from({ length: (30 * 700 * 3) / 4 }, (_, i) => Math.imul(i, 2654435761) >>> 0);
    const pixels = gpu.upload([words.length], "u32", words);
    return scaleBytes(resizeBicubic(pixels, { source, size: { width: 16, height: 20 } }), [20, 16, 3], "f32");
  });
  assert.deepEqual(runs, [3, 4]);
  assert.equal(nmse(parts, whole), 0);
});

test("bytes are scaled in parts", async () => {
  const { whole, parts, runs } = await inBothWays(8192, () => {
    const words = Uint32Array.from({ length: 1279 }, (_, i) => Math.imul(i, 2654435761) >>> 0);
    return scaleBytes(gpu.upload([words.length], "u32", words), [5115], "f32");
  });
  assert.deepEqual(runs, [1, 3]);
  assert.deepEqual(parts, whole);
});

test("pickDepthwise takes channels in fours where each output reads its own input, f16 also where two share one", () => {
  assert.equal(pickDepthwise(384, 384, false), "vec4");
  assert.equal(pickDepthwise(384, 384, true), "half4");
  assert.equal(pickDepthwise(96, 192, false), "scalar");
  assert.equal(pickDepthwise(96, 192, true), "half4");
  assert.equal(pickDepthwise(6, 6, true), "scalar");
});
