import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { resizeWeights } from "../kernels/resize_weights.ts";
import { InputError } from "../src/errors.ts";
import { checkImageSize, type PreprocessPlan, planResize, preprocess } from "../src/image/preprocess.ts";
import { casesOf, pixelsOf, shortestEdges, tensors } from "./golden_images.ts";

describe("resize equals Pillow", () => {
  for (const { name, in: input, out } of casesOf("bicubic_u8")) {
    test(name, () => {
      const pixels = pixelsOf(input);
      const want = pixelsOf(out);
      const source = { width: pixels.width, height: pixels.height };
      const size = { width: want.width, height: want.height };
      const at = { left: 0, top: 0 };
      const plan: PreprocessPlan = {
        source,
        canvas: { ...at, ...source },
        fill: [0, 0, 0],
        size,
        crop: { ...at, ...size },
      };
      assert.deepEqual(preprocess(pixels, plan), want.data);
    });
  }

  for (const { name, size, in: input, apple, hf_pil: transformers } of casesOf("clip_preprocess")) {
    test(name, () => {
      const pixels = pixelsOf(input);
      for (const [mode, want] of [
        ["pad", apple],
        ["crop", transformers],
      ] as const) {
        const got = preprocess(pixels, planResize(pixels.width, pixels.height, { mode, size: Number(size) }));
        assert.deepEqual(toPlanes(got), Uint8Array.from(tensors[String(want)]!.data as Uint8Array), mode);
      }
    });
  }

  test("padding takes the mean colour", () => {
    const { in: input, out, fill_u8: fill } = casesOf("expand2square")[0]!;
    const pixels = pixelsOf(input);
    const want = pixelsOf(out);
    const options = { mode: "pad", size: want.width, fill: fill as [number, number, number] } as const;
    assert.deepEqual(preprocess(pixels, planResize(pixels.width, pixels.height, options)), want.data);
  });
});

/** [H, W, 3] → [3, H, W] */
function toPlanes(pixels: Uint8Array): Uint8Array {
  const count = pixels.length / 3;
  return Uint8Array.from({ length: pixels.length }, (_, i) => pixels[(i % count) * 3 + Math.floor(i / count)]!);
}

describe("plans", () => {
  test("padding puts the odd pixel right and below", () => {
    const place = (width: number, height: number) => planResize(width, height, { mode: "pad", size: 64 }).canvas;
    assert.deepEqual(place(97, 60), { left: 0, top: 18, width: 97, height: 97 });
    assert.deepEqual(place(60, 97), { left: 18, top: 0, width: 97, height: 97 });
    assert.deepEqual(place(5, 5), { left: 0, top: 0, width: 5, height: 5 });
  });

  test("cropping scales the shortest edge and truncates the other", () => {
    for (const { w, h, size, out_wh: want } of shortestEdges) {
      const plan = planResize(w, h, { mode: "crop", size });
      assert.deepEqual([plan.size.width, plan.size.height], want);
      const [left, top] = [Math.floor((want[0] - size) / 2), Math.floor((want[1] - size) / 2)];
      assert.deepEqual(plan.crop, { left, top, width: size, height: size });
    }
  });

  test("the longest and thinnest picture", () => {
    const pixels = { width: 65_535, height: 1, data: new Uint8Array(65_535 * 3).fill(200) };
    const padded = preprocess(pixels, planResize(65_535, 1, { mode: "pad", size: 64 }));
    assert.equal(padded.length, 64 * 64 * 3);
    assert.deepEqual(preprocess(pixels, planResize(65_535, 1, { mode: "crop", size: 64 })), padded.fill(200));
  });

  test("weights of a part are that part of all weights", () => {
    for (const [input, output] of [
      [97, 40],
      [40, 97],
      [64, 64],
    ] as const) {
      const all = resizeWeights(input, output);
      const part = resizeWeights(input, output, { first: 11, count: 20 });
      assert.deepEqual(part.starts, all.starts.slice(11, 31));
      assert.deepEqual(part.counts, all.counts.slice(11, 31));
      assert.deepEqual(part.weights, all.weights.slice(11 * all.taps, 31 * all.taps));
    }
  });

  test("image sizes are multiples of 64", () => {
    assert.equal(checkImageSize(1024), 1024);
    for (const size of [0, -64, 63, 100, 1000, 64.5, 8192, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => checkImageSize(size), InputError);
    }
    assert.throws(() => checkImageSize(1000), { hint: "the nearest such size is 1024" });
  });
});
