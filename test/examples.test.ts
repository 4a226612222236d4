import assert from "node:assert/strict";
import { copyFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { MODEL, start } from "./cli.ts";
import { GOLDEN } from "./golden.ts";

const PICTURE = fileURLToPath(new URL("preprocess/exif_6.jpg", GOLDEN));
const FRAMES = fileURLToPath(new URL("images", import.meta.url));
const EMBEDDED = fileURLToPath(new URL("../weights/fastvlm-tiny", import.meta.url));

async function runExample(name: string, args: readonly string[]): Promise<string> {
  const { child, ended } = start(args, fileURLToPath(new URL(`../examples/${name}`, import.meta.url)));
  child.stdin.end();
  const { code, stdout, stderr } = await ended;
  assert.deepEqual([code, stderr], [0, ""], name);
  return stdout;
}

test("examples/image.ts", async () => {
  const output = await runExample("image.ts", [MODEL, PICTURE, PICTURE]);
  const [one, two] = output.split("exif_6.jpg: ").slice(1);
  assert.equal(one?.trim(), two?.trim(), "one picture, one answer");
});

test("examples/video.ts", async () => {
  const output = await runExample("video.ts", [MODEL, FRAMES, "What?"]);
  assert.match(output, /^frame 1 of 6\n.*frame 6 of 6\n.*\n {2}54 of \d+ tokens are the video's\n$/s);
});

test("examples/chat.ts", async () => {
  const output = await runExample("chat.ts", [MODEL, PICTURE]);
  assert.match(output, /^\? What is in the picture\?\n.*\n {2}0 of \d+ tokens were known\n.*6 messages\n$/s);
  assert.match(output, /\n {2}[1-9]\d* of \d+ tokens were known\n/);
});

test("the embedded checkpoint answers", { skip: !existsSync(EMBEDDED) && "it is not in this checkout" }, async () => {
  assert.match(await runExample("video.ts", []), /rocket/i);
});

test("the README's programs, one after the other", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "fastvlm-readme-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const name of ["photo.jpg", "before.jpg", "after.jpg"]) copyFileSync(PICTURE, join(folder, name));
  copyFileSync(fileURLToPath(new URL("videos/h264.mp4", import.meta.url)), join(folder, "clip.mp4"));
  cpSync(MODEL, join(folder, "FastVLM-0.5B"), { recursive: true });
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const library = readme.slice(readme.indexOf("\n## Library\n"), readme.indexOf("\n## Supported checkpoints\n"));
  const programs = [...library.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);
  assert.equal(programs.length, 8);
  const entry = new URL("../src/node.ts", import.meta.url).href;
  writeFileSync(join(folder, "readme.ts"), programs.join("").replace('"fastvlm"', JSON.stringify(entry)));
  const { child, ended } = start([], join(folder, "readme.ts"), {}, folder);
  child.stdin.end();
  const { code, stdout, stderr } = await ended;
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /(indoors|outdoors)\n$/);
});
