// Pictures resized on the GPU are those resized on the CPU, in every byte.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Pixels } from "../src/image/pixels.ts";
import { type PreprocessPlan, planResize, preprocess } from "../src/image/preprocess.ts";
import { openNodeGpu } from "../src/node/adapter.ts";
import { preprocessOnGpu, rehearseResize, resizePicture, resizesOnGpu } from "../src/pipeline/resize.ts";
import { casesOf, pixelsOf } from "./golden_images.ts";
import { gpu } from "./gpu.ts";
import { randomFrom } from "./mutate.ts";

/** The bytes that the GPU makes. */
async function resized(pixels: Pixels, plan: PreprocessPlan): Promise<Uint8Array> {
  const words = preprocessOnGpu(gpu, pixels, plan);
  const bytes = new Uint8Array(await gpu.readBytes(words), 0, 3 * plan.crop.width * plan.crop.height);
  gpu.release(words);
  return bytes;
}

describe("the golden pictures", () => {
  for (const { name, in: input, out } of casesOf("bicubic_u8")) {
    test(name, async () => {
      const [pixels, want] = [pixelsOf(input), pixelsOf(out)];
      const [source, size] = [pixels, want].map(({ width, height }) => ({ width, height })) as [Size, Size];
      const at = { left: 0, top: 0 };
      const plan = { source, canvas: { ...at, ...source }, fill: [0, 0, 0], size, crop: { ...at, ...size } } as const;
      assert.deepEqual(await resized(pixels, plan), want.data);
    });
  }

  for (const { name, size, in: input } of casesOf("clip_preprocess")) {
    test(name, async () => {
      const pixels = pixelsOf(input);
      for (const mode of ["pad", "crop"] as const) {
        const plan = planResize(pixels.width, pixels.height, { mode, size: Number(size) });
        assert.deepEqual(await resized(pixels, plan), preprocess(pixels, plan), mode);
      }
    });
  }
});

type Size = { readonly width: number; readonly height: number };

test("sizes whose bytes fill no words, and every value a byte has", async () => {
  const random = randomFrom(3);
  const { used } = gpu.memory;
  for (const [width, height] of [
    [1, 1],
    [3, 1],
    [1, 5],
    [7, 3],
    [131, 97],
    [257, 1],
  ] as const) {
    const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i < 256 ? i : Math.floor(random() * 256)));
    for (const mode of ["pad", "crop"] as const) {
      const plan = planResize(width, height, { mode, size: 64 });
      const got = await resized({ width, height, data }, plan);
      assert.deepEqual(got, preprocess({ width, height, data }, plan), `${width} × ${height}, ${mode}`);
    }
  }
  assert.equal(gpu.memory.used, used);
});

test("a rehearsal compiles all that a resize takes", async () => {
  const own = await openNodeGpu();
  try {
    await own.rehearse(() => {
      rehearseResize(own);
      return undefined;
    });
    const compiled = [...own.variants.keys()];
    assert.equal(compiled.length, 2);
    const plan = planResize(9, 7, { mode: "pad", size: 64 });
    preprocessOnGpu(own, { width: 9, height: 7, data: new Uint8Array(189) }, plan);
    assert.deepEqual([...own.variants.keys()], compiled);
  } finally {
    own.close();
  }
});

test("a software adapter leaves it to the CPU, a GPU does what is large enough, black around, and can be bound", async () => {
  const real = { adapter: { software: false }, maxBindingBytes: 2 ** 27 };
  const plan = (width: number, height: number, more: Partial<PreprocessPlan> = {}) => ({
    ...planResize(width, height, { mode: "crop", size: 1024 }),
    ...more,
  });
  assert.equal(resizesOnGpu(real, plan(4032, 3024)), true);
  assert.equal(resizesOnGpu({ ...real, adapter: { software: true } }, plan(4032, 3024)), false);
  assert.equal(resizesOnGpu(real, plan(640, 480)), true, "much comes out");
  assert.equal(resizesOnGpu(real, planResize(640, 480, { mode: "pad", size: 1024 })), true);
  assert.equal(resizesOnGpu(real, planResize(500, 500, { mode: "pad", size: 256 })), false);
  assert.equal(resizesOnGpu(real, plan(4032, 3024, { fill: [127, 0, 0] })), false);
  assert.equal(resizesOnGpu(real, plan(9000, 6000)), false, "more bytes than can be bound");
  assert.equal(resizesOnGpu({ ...real, maxBindingBytes: 2 ** 30 }, plan(9000, 6000)), true);
  assert.equal(resizesOnGpu(real, plan(60_000, 100)), false, "tables of weights of a thin picture");
  const { dispatches } = gpu;
  const pixels = { width: 1200, height: 900, data: new Uint8Array(3 * 1200 * 900).fill(9) };
  const square = resizePicture(gpu, pixels, planResize(1200, 900, { mode: "crop", size: 64 }));
  assert.deepEqual(square, new Uint8Array(3 * 64 * 64).fill(9));
  if (gpu.adapter.software) assert.equal(gpu.dispatches, dispatches);
});
