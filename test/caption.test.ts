import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { nameWithin } from "../src/cli/caption.ts";
import { jsonlStore, openStore, textStore } from "../src/cli/caption_store.ts";
import { lock } from "../src/cli/lock.ts";
import { InputError } from "../src/errors.ts";
import { MODEL, run, runCramped, start } from "./cli.ts";
import { encodePng } from "./png.ts";

const folders: string[] = [];
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "fastvlm-caption-"));
  folders.push(made);
  return made;
}
after(() => folders.forEach((path) => void rmSync(path, { recursive: true, force: true })));

/** A grey picture; each level is another one. */
const picture = (level: number) =>
  encodePng({
    width: 8,
    height: 4,
    depth: 8,
    colorType: 0,
    samples: Array.from({ length: 4 }, () => Array<number>(8).fill(level)),
  });

const FLAGS = ["--model", MODEL, "--image-size", "64", "--max-tokens", "2"];
const linesOf = (file: string): string[] =>
  existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];

describe("fastvlm caption", () => {
  test("300 files, 20 of them broken, killed twice: each good one has exactly one caption", async () => {
    const root = folder();
    const broken = (i: number): boolean => i % 15 === 7;
    for (let i = 0; i < 300; i++) {
      const whole = picture(i % 256);
      const damaged = [new Uint8Array(), whole.subarray(0, 60), Buffer.from("no picture")][i % 3]!;
      writeFileSync(join(root, `${i}.png`), broken(i) ? damaged : whole);
    }
    const out = join(root, "captions.jsonl");
    for (const count of [40, 120]) {
      const { child, ended } = start(["caption", root, ...FLAGS]);
      while (linesOf(out).length < count && child.exitCode === null) await new Promise((next) => setTimeout(next, 10));
      child.kill("SIGKILL");
      assert.equal((await ended).signal, "SIGKILL");
      // What a power cut in the middle of a write leaves.
      appendFileSync(out, '{"file":"299.png","capt');
    }
    const before = linesOf(out);
    assert.ok(before.length >= 120 && before.length < 280, `${before.length} lines`);
    const { code, stdout, stderr } = await run(["caption", root, ...FLAGS]);
    assert.deepEqual([code, stdout], [1, ""], stderr);

    const lines = linesOf(out);
    assert.deepEqual(lines.slice(0, before.length), before, "lines that were there stay");
    const captions = lines.map((line) => JSON.parse(line) as { file: string; caption: string });
    const good = Array.from({ length: 300 }, (_, i) => i).filter((i) => !broken(i));
    assert.deepEqual(captions.map(({ file }) => file).sort(), good.map((i) => `${i}.png`).sort());
    for (const { caption } of captions) assert.equal(typeof caption, "string");
    assert.equal(
      new Map(captions.map(({ file, caption }) => [file, caption])).get("3.png"),
      captions.find(({ file }) => file === "259.png")?.caption,
    );
    const reported = stderr.split("\n").filter((line) => line.startsWith("skipped "));
    assert.deepEqual(
      reported.map((line) => /^skipped (\S+):/.exec(line)?.[1]).sort(),
      Array.from({ length: 20 }, (_, i) => `${i * 15 + 7}.png`).sort(),
    );
    assert.match(
      stderr,
      new RegExp(`^${280 - before.length} captioned, ${before.length} had a caption, 20 could not be read$`, "m"),
    );
    assert.ok(!stderr.includes("\r"), "no bar without a terminal");
  });

  test("text files beside the pictures, of folders within folders too; Ctrl-C leaves whole files", async () => {
    const root = folder();
    mkdirSync(join(root, "in"));
    for (let i = 0; i < 120; i++) writeFileSync(join(root, i % 2 ? "in" : "", `${i}.png`), picture(i));
    const command = ["caption", root, ...FLAGS, "--format", "txt", "--recursive", "--parallel", "2"];
    const texts = () =>
      readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
        (name) => !name.endsWith(".png") && name !== "in" && name !== ".captions.lock",
      );
    const { child, ended } = start(command);
    while (texts().length < 8 && child.exitCode === null) await new Promise((next) => setTimeout(next, 10));
    child.kill("SIGINT");
    const { code, stderr } = await ended;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /goes on from here/);
    assert.ok(!existsSync(join(root, ".captions.lock")));
    const made = texts();
    assert.ok(made.length >= 8 && made.length < 120 && made.every((name) => name.endsWith(".txt")), made.join(" "));
    const again = await run(command);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, new RegExp(`${120 - made.length} captioned, ${made.length} had a caption`));
    assert.equal(texts().filter((name) => name.endsWith(".txt")).length, 120);
    for (const name of texts()) assert.match(readFileSync(join(root, name), "utf8"), /\n$/);
    // Nothing is left to do, so no model is needed.
    const idle = await run(["caption", root, "--model", "nowhere", "--format", "txt", "--recursive"]);
    assert.deepEqual([idle.code, idle.stderr], [0, "0 captioned, 120 had a caption\n"]);
  });

  test("goes on when nobody reads its messages; Ctrl-C has its own exit code", async () => {
    const root = folder();
    for (let i = 0; i < 120; i++) writeFileSync(join(root, `${i}.png`), i % 3 ? picture(i) : "no picture");
    const out = join(root, "captions.jsonl");
    const stopped = start(["caption", root, ...FLAGS]);
    while (linesOf(out).length < 20 && stopped.child.exitCode === null)
      await new Promise((next) => setTimeout(next, 10));
    stopped.child.kill("SIGINT");
    const { code, stderr } = await stopped.ended;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /^skipped /m);
    const unread = start(["caption", root, ...FLAGS]);
    unread.child.stderr.destroy();
    assert.equal((await unread.ended).code, 1);
    assert.equal(linesOf(out).length, 80);
    assert.ok(!existsSync(`${out}.lock`));
  });

  for (const format of ["jsonl", "txt"] as const) {
    test(`two runs at once, ${format}: one says that the other is at work, and captions are whole`, async () => {
      const root = folder();
      for (let i = 0; i < 40; i++) writeFileSync(join(root, `${i}.png`), picture(i));
      const command = ["caption", root, ...FLAGS, "--format", format];
      const runs = [start(command), start(command)];
      const ends = await Promise.all(runs.map(({ ended }) => ended));
      const first = ends.findIndex(({ code }) => code === 0);
      const [made, refused] = [ends[first], ends[1 - first]];
      assert.match(made?.stderr ?? "", /^40 captioned/m, JSON.stringify(ends));
      assert.equal(refused?.code, 2);
      const name = format === "txt" ? "captions" : "captions\\.jsonl";
      const why = `${name} is being written already: process ${runs[first]!.child.pid} is, since .*\\nhint: .*remove .*lock`;
      assert.match(refused.stderr, new RegExp(why, "s"));
      const files = readdirSync(root).filter((file) => !file.endsWith(".png"));
      if (format === "txt") assert.deepEqual(files.sort(), Array.from({ length: 40 }, (_, i) => `${i}.txt`).sort());
      else {
        assert.deepEqual(files, ["captions.jsonl"]);
        const captioned = linesOf(join(root, "captions.jsonl")).map((line) => JSON.parse(line).file as string);
        assert.deepEqual(captioned.sort(), Array.from({ length: 40 }, (_, i) => `${i}.png`).sort());
      }
    });
  }

  test("mistakes", async () => {
    const root = folder();
    const none = await run(["caption", root, ...FLAGS]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /expected JPEG, PNG or WebP files, found none/);
    for (const name of ["a.png", "a.jpg"]) writeFileSync(join(root, name), picture(1));
    const twice = await run(["caption", root, ...FLAGS, "--format", "txt"]);
    assert.equal(twice.code, 2);
    assert.match(twice.stderr, /a\.jpg and a\.png would have the same text file/);
    const out = folder();
    const where = await run(["caption", root, ...FLAGS, "--out", out]);
    assert.deepEqual([where.code, existsSync(`${out}.lock`)], [2, false]);
    assert.match(where.stderr, /^error: .*: expected a file, got a folder\nhint: .*--out/);
  });
});

describe("a lock", () => {
  const owner = (pid: number, host = hostname()): string =>
    JSON.stringify({ pid, host, since: "2026-01-01T00:00:00.000Z" });

  test("is there while it is held, and another process's is left alone", () => {
    const path = join(folder(), "out");
    lock(path, "out")();
    const unlock = lock(path, "out");
    assert.equal(JSON.parse(readFileSync(`${path}.lock`, "utf8")).pid, process.pid);
    unlock();
    assert.ok(!existsSync(`${path}.lock`));
    for (const text of [owner(process.ppid), owner(1, "elsewhere"), "", "{"]) {
      writeFileSync(`${path}.lock`, text);
      assert.throws(() => lock(path, "out"), { name: "InputError", message: /^out is being written already: / });
      unlock();
      assert.equal(readFileSync(`${path}.lock`, "utf8"), text);
    }
    assert.throws(() => lock(join(path, "none"), "out"), InputError);
  });

  test("of a process that is gone is taken over, by one", async () => {
    const path = join(folder(), "out");
    const { child, ended } = start(["help"]);
    await ended;
    const abandoned = [owner(child.pid!), owner(process.pid), ""];
    for (const text of abandoned) {
      writeFileSync(`${path}.lock`, text);
      const long = new Date(Date.now() - 60_000);
      utimesSync(`${path}.lock`, long, long);
      lock(path, "out")();
      assert.deepEqual(readdirSync(join(path, "..")), []);
    }
    writeFileSync(`${path}.lock`, owner(child.pid!));
    writeFileSync(`${path}.lock.next`, owner(process.ppid)); // another one is about to take it over
    assert.throws(() => lock(path, "out"), { message: new RegExp(`process ${process.ppid} is`), hint: /lock\.next$/ });
  });

  test("that does not fit on the disk leaves nothing behind", { skip: process.platform === "win32" }, () => {
    const root = folder();
    const body = `
      const { lock } = await source("cli/lock.ts");
      try { lock(${JSON.stringify(join(root, "out"))}, "out") } catch (error) { console.log(String(error)) }`;
    assert.match(runCramped(0, body), /^InputError: .*out\.lock: cannot be written \(EFBIG\)\n$/);
    assert.deepEqual(readdirSync(root), []);
  });

  test("of a file is that of its links", { skip: process.platform === "win32" }, () => {
    const root = folder();
    writeFileSync(join(root, "out"), "");
    symlinkSync("out", join(root, "link"));
    const unlock = lock(join(root, "link"), "out");
    assert.ok(existsSync(join(root, "out.lock")));
    unlock();
  });
});

describe("where captions go", () => {
  test("a torn line is removed, whole ones stay, and other files are left alone", async () => {
    const path = join(folder(), "captions.jsonl");
    const line = '{"file":"å.png","caption":"a \\"b\\"\\n","note":1}\n';
    const cutInLetter = Buffer.from('{"file":"b.png","caption":"å').subarray(0, -1);
    for (const torn of [
      "",
      " ",
      "{",
      '{"file":"b',
      '{"file":"b.png","caption":"x"',
      "\0\0",
      '{"file":"b.p\0\0',
      cutInLetter,
    ]) {
      writeFileSync(path, Buffer.concat([Buffer.from(line), Buffer.from(torn)]));
      const store = jsonlStore(path);
      assert.deepEqual([store.has("å.png"), store.has("b.png")], [true, false]);
      await store.add("b.png", "two\nlines");
      assert.equal(store.has("b.png"), true);
      store.close();
      assert.equal(readFileSync(path, "utf8"), `${line}{"file":"b.png","caption":"two\\nlines"}\n`);
    }
    const whole = ['{"name":"my notes"}', '{"file":"a.png","size":3}', "text", "3", "[]", '{"file":1,"caption":"a"}'];
    for (const foreign of [...whole, ...whole.map((text) => `${text}\n`), `${line}{"file": "b.png"`]) {
      writeFileSync(path, foreign);
      assert.throws(() => jsonlStore(path), InputError);
      assert.equal(readFileSync(path, "utf8"), foreign);
    }
    assert.throws(() => jsonlStore(join(path, "none")), InputError);
  });

  test("folders that share a file keep their pictures apart", async () => {
    const root = folder();
    const [one, two] = [join(root, "one"), join(root, "two")];
    const out = join(root, "captions", "all.jsonl");
    for (const path of [one, join(one, "in"), two, join(root, "captions")]) mkdirSync(path);
    const files = (path: string): string[] => linesOf(path).map((line) => JSON.parse(line).file as string);
    for (const [path, has] of [
      [one, false],
      [two, false],
      [one, true],
    ] as const) {
      const store = openStore("jsonl", path, out);
      assert.equal(store.has("in/a.png"), has);
      if (!has) await store.add("in/a.png", path);
      store.close();
    }
    assert.deepEqual(files(out), ["../one/in/a.png", "../two/in/a.png"]);
    for (const inside of [undefined, join(one, "..c.jsonl"), join(one, "in", "c.jsonl")]) {
      const store = openStore("jsonl", one, inside);
      await store.add("in/a.png", "a");
      store.close();
      assert.deepEqual(files(inside ?? join(one, "captions.jsonl")), ["in/a.png"]);
    }
    const above = openStore("jsonl", join(one, "in"), join(one, "captions.jsonl"));
    assert.ok(above.has("a.png"), "a folder within has the names that --recursive gives it");
    above.close();
  });

  test("names of pictures, in every Node", () => {
    assert.equal(nameWithin("/", { name: "a.png", parentPath: "/" }), "a.png");
    const root = folder();
    assert.equal(nameWithin(root, { name: "a.png", path: join(root, "in") }), "in/a.png");
    assert.equal(nameWithin(root, { name: "a.png" }), "a.png");
    if (process.platform !== "win32") assert.equal(nameWithin(root, { name: "a\\b.png" }), "a\\b.png");
  });

  test("a last line that lacks only its end is kept", async () => {
    const path = join(folder(), "captions.jsonl");
    const line = '{"file":"a.png","caption":"an å"}';
    writeFileSync(path, line);
    const store = jsonlStore(path);
    assert.equal(store.has("a.png"), true);
    assert.equal(readFileSync(path, "utf8"), `${line}\n`);
    await store.add("b.png", "b");
    store.close();
    assert.equal(readFileSync(path, "utf8"), `${line}\n{"file":"b.png","caption":"b"}\n`);
  });

  test("a full disk is said, and leaves whole lines", { skip: process.platform === "win32" }, () => {
    const path = join(folder(), "captions.jsonl");
    const body = `
      const { jsonlStore } = await source("cli/caption_store.ts");
      const store = jsonlStore(${JSON.stringify(path)});
      await store.add("a.png", "a");
      await store.add("b.png", "b".repeat(2000)).catch((error) => console.log(String(error), store.has("b.png")));`;
    assert.equal(runCramped(1, body), `InputError: ${path}: cannot be written (EFBIG) false\n`);
    assert.equal(readFileSync(path, "utf8"), '{"file":"a.png","caption":"a"}\n');
  });

  test("text files are named after their pictures", async () => {
    const root = folder();
    const store = textStore(root);
    assert.equal(store.has("a.b.jpeg"), false);
    writeFileSync(join(root, "a.b.txt.tmp"), "half of");
    await store.add("a.b.jpeg", "whole");
    assert.equal(store.has("a.b.jpeg"), true);
    assert.deepEqual(readdirSync(root), ["a.b.txt"]);
    assert.equal(readFileSync(join(root, "a.b.txt"), "utf8"), "whole\n");
    await assert.rejects(store.add("gone/a.jpg", "x"), InputError);
  });
});
