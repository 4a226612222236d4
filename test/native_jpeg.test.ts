// The optional native decoder gives the bytes of the one in WebAssembly, and is asked only where that is certain.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { type CodecPixels, decodeImage } from "../src/image/decode.ts";
import { readJpeg } from "../src/image/jpeg.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { codecsWith } from "../src/node/image_codecs.ts";
import { NativeJpeg } from "../src/node/native_jpeg.ts";
import { GOLDEN } from "./golden.ts";
import { mutate, randomFrom } from "./mutate.ts";

const IMAGES = new URL("images/", import.meta.url);
const picture = (name: string): Buffer => readFileSync(new URL(name, IMAGES));
const jpegsIn = (folder: URL): URL[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".jpg"))
    .map((name) => new URL(name, folder));

/** A native decoder that remembers which of the files it was asked for it decoded. */
class Watched extends NativeJpeg {
  readonly answers: boolean[] = [];

  override async decode(file: Uint8Array): Promise<CodecPixels | undefined> {
    const pixels = await super.decode(file);
    this.answers.push(pixels !== undefined);
    return pixels;
  }
}

const absent = (): NativeJpeg => new NativeJpeg(() => Promise.reject(new Error("no such package")));
const byWasm = (file: Uint8Array): Promise<Pixels> => decodeImage(file, codecsWith(absent()));

/** Decodes by both and compares; returns what the native decoder said, [] when it was not asked. */
async function compare(file: Uint8Array, what: string): Promise<readonly boolean[]> {
  const native = new Watched();
  const [got, want] = [await decodeImage(file, codecsWith(native)), await byWasm(file)];
  assert.deepEqual([got.width, got.height], [want.width, want.height], what);
  assert.equal(Buffer.compare(got.data, want.data), 0, what);
  return native.answers;
}

/** Offset of the first marker of this kind. */
const markerAt = (file: Uint8Array, marker: number): number =>
  file.findIndex((byte, i) => byte === 0xff && file[i + 1] === marker);

/** 4:2:2 as 4:4:0: the same blocks, side by side turned to one above the other. */
function upended(): Uint8Array {
  const file = picture("422_progressive.jpg");
  file[markerAt(file, 0xc2) + 11] = 0x12;
  return file;
}

/** A progressive file without its last scan. */
function unrefined(): Uint8Array {
  const file = picture("422_progressive.jpg");
  const last = file.lastIndexOf(Buffer.of(0xff, 0xda));
  return Buffer.concat([file.subarray(0, last), Buffer.of(0xff, 0xd9)]);
}

const installed = await new NativeJpeg().version();

describe("native JPEG decoder", { skip: installed === undefined && "sharp is not installed here" }, () => {
  for (const file of [...jpegsIn(IMAGES), ...jpegsIn(new URL("preprocess/", GOLDEN))]) {
    const name = file.pathname.split("/").at(-1)!;
    test(`${name}: the bytes of WebAssembly`, async () => {
      assert.deepEqual(await compare(readFileSync(file), name), name === "cmyk.jpg" ? [] : [true]);
    });
  }

  test("pictures of many sizes, samplings and qualities: the bytes of WebAssembly", async () => {
    const random = randomFrom(3);
    for (let i = 0; i < 60; i++) {
      const [width, height] = [1 + Math.floor(random() * 90), 1 + Math.floor(random() * 90)];
      const channels = i % 5 === 0 ? 1 : 3;
      const noise = Uint8Array.from({ length: width * height * channels }, () => random() * 256);
      const options = {
        quality: 1 + Math.floor(random() * 100),
        progressive: i % 2 === 1,
        chromaSubsampling: i % 3 === 0 ? "4:4:4" : "4:2:0",
      };
      const file = await encode(noise, { width, height, channels }, options);
      assert.deepEqual(await compare(file, `${width}x${height} ${JSON.stringify(options)}`), [true]);
    }
  });

  test("it is not asked for kinds on which libjpegs differ", async () => {
    for (const file of [upended(), unrefined()]) assert.deepEqual(await compare(file, "rare kind"), []);
  });

  test("what it complains about is left to WebAssembly", async () => {
    const file = picture("420.jpg");
    const garbage = Buffer.concat([file.subarray(0, 20), Buffer.from("garbage"), file.subarray(20)]);
    assert.deepEqual(await compare(garbage, "garbage between segments"), [false]);
  });

  test("damaged files give the same errors", async () => {
    const outcome = (decoded: Promise<Pixels>): Promise<string> => decoded.then(() => "pixels", String);
    for (const name of ["420.jpg", "422_progressive.jpg", "grey.jpg"]) {
      const random = randomFrom(name.length);
      for (let i = 0; i < 150; i++) {
        const file = mutate(picture(name), random);
        const codecs = codecsWith(new NativeJpeg());
        assert.equal(await outcome(decodeImage(file, codecs)), await outcome(byWasm(file)));
      }
    }
  });
});

test("without the package WebAssembly decodes, and it is looked for once", async () => {
  let loads = 0;
  const native = new NativeJpeg(() => {
    loads++;
    return Promise.reject(new Error("no such package"));
  });
  for (const name of ["420.jpg", "grey.jpg"]) {
    assert.deepEqual(Buffer.from((await decodeImage(picture(name), codecsWith(native))).data), picture(`${name}.rgb`));
  }
  assert.equal(await native.version(), undefined);
  assert.equal(loads, 1);
});

test("plain JPEGs are told by their headers", () => {
  const plain = (file: Uint8Array): boolean => readJpeg(file).plain;
  for (const name of ["420.jpg", "422_progressive.jpg", "444_turned.jpg", "grey.jpg"]) assert.ok(plain(picture(name)));
  for (const file of [picture("cmyk.jpg"), upended(), unrefined()]) assert.ok(!plain(file));
  const frame = markerAt(picture("420.jpg"), 0xc0);
  const changed = (offset: number, byte: number): Uint8Array => {
    const file = picture("420.jpg");
    file[frame + offset] = byte;
    return file;
  };
  assert.ok(plain(changed(1, 0xc1)), "extended sequential");
  assert.ok(!plain(changed(1, 0xc9)), "arithmetic coding");
  assert.ok(!plain(changed(4, 12)), "12 bits");
  assert.ok(!plain(changed(11, 0x41)), "4:1:1");
  assert.ok(!plain(changed(14, 0x21)), "chroma of two samplings");
});

interface Encoder {
  jpeg(options: object): { toBuffer(): Promise<Buffer> };
}

async function encode(data: Uint8Array, raw: object, options: object): Promise<Buffer> {
  const name = "sharp";
  const sharp = (await import(name)) as { default(data: Uint8Array, options: object): Encoder };
  return sharp.default(data, { raw }).jpeg(options).toBuffer();
}
