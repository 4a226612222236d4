import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { deflateSync } from "node:zlib";
import { FastVLMError, ImageError } from "../src/errors.ts";
import { type CodecRequest, decodeImage } from "../src/image/decode.ts";
import { sniffFormat } from "../src/image/format.ts";
import { readJpeg, withoutMetadata } from "../src/image/jpeg.ts";
import { applyOrientation, readExifOrientation } from "../src/image/orientation.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { WasmDecoder } from "../src/image/wasm_decoder.ts";
import { nodeCodecs } from "../src/node/image_codecs.ts";
import { GOLDEN } from "./golden.ts";
import { casesOf, pixelsOf } from "./golden_images.ts";
import { mutate, randomFrom } from "./mutate.ts";
import { encodePng, pngChunk, pngFile, samplesPerPixel } from "./png.ts";

const picture = (name: string): Uint8Array => readFileSync(new URL(`images/${name}`, import.meta.url));
const golden = (name: string): Uint8Array => readFileSync(new URL(name, GOLDEN));
const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");
const decode = (bytes: Uint8Array, orientation = true): Promise<Pixels> =>
  decodeImage(bytes, nodeCodecs, { orientation });

function largestDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  assert.equal(got.length, want.length);
  let largest = 0;
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(got[i]! - want[i]!));
  return largest;
}

describe("decoding equals Pillow", () => {
  const exact = ["420.jpg", "422_progressive.jpg", "444_turned.jpg", "grey.jpg", "lossy.webp", "lossless_turned.webp"];
  for (const name of [...exact, "alpha.webp", "animated.webp", "grey16.png", "palette.png"]) {
    test(name, async () => {
      const { width, height, data } = await decode(picture(name));
      assert.deepEqual([width, height], name.includes("turned") ? [35, 51] : [51, 35]);
      assert.deepEqual(Buffer.from(data), picture(`${name}.rgb`));
    });
  }

  test("CMYK, with and without an Adobe segment", async () => {
    const file = picture("cmyk.jpg");
    const { data } = await decode(file);
    // Another inverse cosine transform than libjpeg's: one step is its rounding.
    assert.ok(largestDifference(data, picture("cmyk.jpg.rgb")) <= 1);
    assert.equal(Buffer.from(file.subarray(6, 11)).toString(), "Adobe");
    const bare = Buffer.concat([file.subarray(0, 2), file.subarray(18)]);
    assert.deepEqual((await decode(bare)).data, data);
  });

  test("CMYK of more pixels than its decoder takes is refused for what it is", async () => {
    const file = Uint8Array.from(picture("cmyk.jpg"));
    const frame = file.findIndex((byte, i) => byte === 0xff && (file[i + 1] === 0xc0 || file[i + 1] === 0xc2));
    new DataView(file.buffer).setUint32(frame + 5, (8000 << 16) | 9000);
    await assert.rejects(
      decode(file),
      (error) => error instanceof ImageError && /CMYK.*40 million/.test(error.message),
    );
  });

  test("alpha is dropped, not composited", async () => {
    const { png, rgb } = casesOf("convert_rgb")[0]!;
    assert.deepEqual(await decode(golden(String(png))), pixelsOf(rgb));
  });

  for (const { name, png, raw, upright } of casesOf("exif_transpose")) {
    test(`${name} is turned upright, and left alone on request`, async () => {
      assert.deepEqual(await decode(golden(String(png))), pixelsOf(upright));
      assert.deepEqual(await decode(golden(String(png)), false), pixelsOf(raw));
    });
  }

  test("a JPEG that lies on its side", async () => {
    const file = golden("preprocess/exif_6.jpg");
    const [upright, raw] = [await decode(file), await decode(file, false)];
    assert.deepEqual([raw.width, raw.height, upright.width, upright.height], [24, 16, 16, 24]);
    assert.deepEqual(applyOrientation(raw, 6), upright);
  });
});

describe("PNG of every kind", () => {
  const kinds = [0, 2, 3, 4, 6].flatMap((colorType) =>
    [1, 2, 4, 8, 16].map((depth) => ({ colorType, depth, samples: samplesPerPixel(colorType) })),
  );
  const allowed = kinds.filter(
    ({ colorType, depth }) => colorType === 0 || (colorType === 3 ? depth < 16 : depth >= 8),
  );
  const palette = Array.from({ length: 3 * 11 }, (_, i) => (i * 37) & 255);

  /** What Pillow makes of one pixel's samples. */
  function toRgb(colorType: number, depth: number, samples: number[]): number[] {
    if (colorType === 3) return [0, 1, 2].map((c) => palette[3 * samples[0]! + c] ?? 0);
    const eight = samples.map((value) => {
      if (depth < 16) return (value * 255) / (2 ** depth - 1);
      return colorType === 0 ? Math.min(value, 255) : value >> 8;
    });
    return colorType === 2 || colorType === 6 ? eight.slice(0, 3) : [eight[0]!, eight[0]!, eight[0]!];
  }

  for (const { colorType, depth, samples } of allowed) {
    test(`colour type ${colorType}, ${depth} bits`, async () => {
      const random = randomFrom(colorType * 100 + depth);
      for (const [width, height] of [
        [13, 11],
        [1, 1],
        [3, 9],
        [33, 2],
      ] as const) {
        const values = Array.from({ length: height }, () =>
          Array.from({ length: width * samples }, () => Math.floor(random() * 2 ** depth)),
        );
        const want = values.flatMap((row) =>
          Array.from({ length: width }, (_, x) => toRgb(colorType, depth, row.slice(x * samples, (x + 1) * samples))),
        );
        for (const interlaced of [false, true]) {
          const file = encodePng({ width, height, depth, colorType, interlaced, samples: values, palette });
          const got = await decode(file);
          assert.deepEqual(got, { width, height, data: Uint8Array.from(want.flat()) });
        }
      }
    });
  }
});

describe("bytes that are no picture", () => {
  const formats: [string, Uint8Array][] = [
    ["gif", latin1("GIF89a")],
    ["bmp", latin1("BM\x36\0")],
    ["tiff", latin1("II*\0\x08\0\0\0")],
    ["avif", latin1("\0\0\0\x1cftypavif")],
    ["heic", latin1("\0\0\0\x18ftypheic")],
    ["html", latin1("<!DOCTYPE html><html>")],
  ];
  for (const [format, bytes] of formats) {
    test(`${format} is refused by name`, async () => {
      assert.equal(sniffFormat(bytes), format);
      await assert.rejects(decode(bytes), (error: unknown) => {
        return error instanceof ImageError && error.message.includes(format.toUpperCase()) && error.hint !== undefined;
      });
    });
  }

  test("empty and unknown bytes", async () => {
    await assert.rejects(decode(new Uint8Array(0)), { name: "ImageError", message: /0 bytes/ });
    await assert.rejects(decode(latin1("hello")), { name: "ImageError", message: /68 65 6c 6c 6f/ });
  });

  for (const name of ["420.jpg", "422_progressive.jpg", "cmyk.jpg", "lossy.webp", "animated.webp", "grey16.png"]) {
    test(`${name} cut off anywhere`, async () => {
      const file = picture(name);
      // Of a PNG the last chunk says only that it is over, and the pixels before it are complete.
      const end = name.endsWith(".png") ? file.length - 12 : file.length;
      for (let length = 1; length < end; length += 7) {
        await assert.rejects(decode(file.subarray(0, length)), ImageError, `${length} bytes`);
      }
      await assert.rejects(decode(file.subarray(0, end - 1)), { name: "ImageError", message: /truncated/ });
    });
  }
});

describe("pictures that want too much", () => {
  const one = { width: 1, height: 1, depth: 8, colorType: 0, samples: [[0]] };
  const refused = { name: "ImageError", message: /expected at most 178956970 pixels and 65535 a side/ };
  const never = { decode: () => assert.fail("decoded before its size was checked") };

  test("by the size in their header", async () => {
    const jpeg = Uint8Array.from(picture("420.jpg"));
    const frame = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc0);
    jpeg.set([0xff, 0xff, 0xff, 0xff], frame + 5);
    await assert.rejects(decodeImage(jpeg, never), refused);
    await assert.rejects(decode(pngFile({ ...one, width: 60_000, height: 60_000 }, latin1("x"))), refused);
    await assert.rejects(decode(pngFile({ ...one, width: 2 ** 31, height: 1 }, latin1("x"))), refused);
    await assert.rejects(decode(pngFile({ ...one, width: 0 }, latin1("x"))), { name: "ImageError", message: /0 × 1/ });
    const webp = Uint8Array.from(picture("animated.webp"));
    webp.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 24);
    await assert.rejects(decodeImage(webp, never), refused);
  });

  test("PNG data that inflates to more than its pixels", async () => {
    const file = pngFile(one, deflateSync(Buffer.alloc(64 * 1024 * 1024)));
    assert.deepEqual(await decode(file), { width: 1, height: 1, data: new Uint8Array(3) });
  });

  test("a progressive JPEG with endless scans", async () => {
    const jpeg = picture("422_progressive.jpg");
    const frame = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc2);
    const large = Buffer.from(jpeg);
    large.set([0x2e, 0xe0, 0x2e, 0xe0], frame + 5); // 12,000 × 12,000
    const scan = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xda);
    const scans = Array.from({ length: 40 }, () => large.subarray(scan, -2));
    const file = Buffer.concat([large.subarray(0, scan), ...scans, large.subarray(-2)]);
    await assert.rejects(decodeImage(file, never), { name: "ImageError", message: /scans/ });
  });
});

test("damaged chunks of a PNG are named", async () => {
  const file = encodePng({
    width: 2,
    height: 2,
    depth: 8,
    colorType: 0,
    samples: [
      [1, 2],
      [3, 4],
    ],
  });
  const header = Uint8Array.from(file);
  header[19]! ^= 1;
  await assert.rejects(decode(header), { name: "ImageError", message: /checksum of chunk IHDR/ });
  const filter = pngFile({ width: 1, height: 1, depth: 8, colorType: 0, samples: [] }, deflateSync(Buffer.of(9, 0)));
  await assert.rejects(decode(filter), { name: "ImageError", message: /row filter 9/ });
  const palette = { width: 1, height: 1, depth: 8, colorType: 3, samples: [[0]] };
  await assert.rejects(decode(encodePng(palette)), { name: "ImageError", message: /no palette/ });
  const adler = deflateSync(Buffer.of(0, 7));
  adler[adler.length - 1]! ^= 1;
  await assert.rejects(decode(pngFile({ ...palette, colorType: 0 }, adler)), ImageError);
  assert.equal(pngChunk("IEND", Buffer.alloc(0)).toString("hex"), "0000000049454e44ae426082");
});

test("Exif data that makes no sense is upright", () => {
  const random = randomFrom(7);
  const exif = latin1("Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
  assert.deepEqual(readExifOrientation(exif, 0, exif.length), { value: 6, at: 25 });
  for (let i = 0; i < 2000; i++) {
    const bytes = mutate(exif, random);
    const { value, at } = readExifOrientation(bytes, 0, bytes.length);
    assert.ok(value >= 1 && value <= 8 && at < bytes.length);
  }
  for (let length = 0; length < exif.length - 6; length++) {
    assert.equal(readExifOrientation(exif, 0, length).value, 1, `${length} bytes`);
  }
});

test("codecs get files without orientation, so that none can turn a picture twice", async () => {
  const requests: { request: CodecRequest; file: Uint8Array }[] = [];
  const codecs = {
    decode(request: CodecRequest, file: Uint8Array) {
      requests.push({ request, file });
      return nodeCodecs.decode(request, file);
    },
  };
  for (const name of ["444_turned.jpg", "lossless_turned.webp"]) {
    const file = picture(name);
    const before = Uint8Array.from(file);
    await decodeImage(file, codecs);
    assert.deepEqual(Uint8Array.from(file), before, "the caller's bytes are left alone");
    const passed = requests.pop()!.file;
    assert.equal(passed.length < file.length, name.endsWith(".jpg"), "a JPEG's metadata is taken out");
    assert.equal((await decode(passed)).width, 51);
  }
  await decodeImage(picture("alpha.webp"), codecs);
  assert.deepEqual(requests.pop()!.request, { format: "webp", alpha: true, cmyk: false, plain: false });
});

test("codecs get a JPEG's picture alone: no profile, comment, or what follows it", async () => {
  const bare = picture("420.jpg");
  const head = 20; // SOI and the JFIF segment
  const segment = (marker: number, text: string) =>
    Buffer.concat([Buffer.of(0xff, marker, 0, text.length + 2), latin1(text)]);
  const wrapped = [segment(0xe2, "ICC_PROFILE\0\x01\x01 none"), segment(0xfe, "a comment")];
  const file = Buffer.concat([bare.subarray(0, head), ...wrapped, bare.subarray(head), bare]);
  for (const bytes of [bare, file]) {
    assert.deepEqual(Buffer.from(withoutMetadata(bytes, readJpeg(bytes))), bare);
  }
});

describe("WebAssembly decoders", () => {
  const image = { width: 1, height: 1, data: new Uint8ClampedArray(4) };
  const named = { name: "WebP", hint: "Serve it." };

  test("are replaced after a failure and after growing", async () => {
    let instances = 0;
    let memory = new Uint8Array(1);
    const answers = [image, null, image, image, image];
    const decoder = new WasmDecoder(async () => {
      instances++;
      return { decode: () => answers.shift() ?? null, HEAPU8: memory };
    }, named);
    await decoder.decode(new Uint8Array(1));
    assert.equal(instances, 1);
    await assert.rejects(decoder.decode(new Uint8Array(1)));
    memory = new Uint8Array(65 * 1024 * 1024);
    await decoder.decode(new Uint8Array(1));
    assert.equal(instances, 2);
    memory = new Uint8Array(1);
    await decoder.decode(new Uint8Array(1));
    await decoder.decode(new Uint8Array(1));
    assert.equal(instances, 3);
  });

  test("that cannot be loaded are no fault of the picture, and are loaded when they can be", async () => {
    let there = false;
    const decoder = new WasmDecoder(async () => {
      if (!there) throw new TypeError("404");
      return { decode: () => ({ ...image, data: new Uint8ClampedArray(4) }), HEAPU8: new Uint8Array(1) };
    }, named);
    const codecs = { decode: (_: CodecRequest, bytes: Uint8Array) => decoder.decode(bytes) };
    await assert.rejects(decodeImage(picture("lossy.webp"), codecs), (error: unknown) => {
      assert.ok(error instanceof ImageError && error.cause instanceof TypeError);
      assert.equal(error.message, "image: the WebP decoder could not be loaded");
      return error.hint === named.hint;
    });
    there = true;
    assert.equal((await decoder.decode(new Uint8Array(1))).width, 1);
  });

  test("decode well after a damaged picture", async () => {
    for (const name of ["420.jpg", "lossy.webp"]) {
      const damaged = Uint8Array.from(picture(name));
      damaged.fill(0x55, 60, damaged.length - 2);
      await assert.rejects(decode(damaged), ImageError);
      assert.deepEqual(Buffer.from((await decode(picture(name))).data), picture(`${name}.rgb`));
    }
  });
});

describe("500 mutations each give pixels or a typed error", () => {
  for (const name of ["420.jpg", "422_progressive.jpg", "cmyk.jpg", "lossy.webp", "animated.webp", "palette.png"]) {
    test(name, async () => {
      const random = randomFrom(name.length);
      const file = picture(name);
      let refused = 0;
      for (let i = 0; i < 500; i++) {
        const bytes = mutate(file, random);
        try {
          const { width, height, data } = await decode(bytes);
          assert.equal(data.length, width * height * 3);
        } catch (error) {
          if (!(error instanceof FastVLMError)) throw error;
          refused++;
        }
      }
      assert.ok(refused > 50, `only ${refused} of 500 mutations were refused`);
    });
  }
});
