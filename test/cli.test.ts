import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { answerOptions } from "../src/cli/answer_flags.ts";
import { integer, number, parseFlags, withAliases } from "../src/cli/args.ts";
import { culprit, readCommand } from "../src/cli/chat_commands.ts";
import { historyFile, readHistory, writeHistory } from "../src/cli/history.ts";
import { defaultModel, sourceOf } from "../src/cli/model.ts";
import { duration, ProgressBar, progressText } from "../src/cli/progress.ts";
import { InputError } from "../src/errors.ts";
import type { Message, Result } from "../src/node.ts";
import { MODEL, run, start } from "./cli.ts";
import { GOLDEN } from "./golden.ts";

const folder = mkdtempSync(join(tmpdir(), "fastvlm-cli-"));
after(() => rmSync(folder, { recursive: true }));
const PICTURE = fileURLToPath(new URL("preprocess/exif_6.jpg", GOLDEN));
const CLIP = fileURLToPath(new URL("images", import.meta.url));

describe("flags", () => {
  test("other scripts' spellings", () => {
    const given = ["--image_path", "a_b.jpg", "--model-path=/m_1", "--max_new_tokens", "3", "-h", "--", "--image_path"];
    const want = ["--image", "a_b.jpg", "--model=/m_1", "--max-tokens", "3", "-h", "--", "--image_path"];
    assert.deepEqual(withAliases(given), want);
  });

  test("mistakes are one sentence", () => {
    assert.throws(() => parseFlags(["--nope"], {}, "usage"), {
      name: "InputError",
      message: /^unknown option '--nope'/,
    });
    assert.throws(() => parseFlags(["--a"], { a: { type: "string" } }, "usage"), InputError);
    for (const value of ["", "1e", "NaN", "Infinity", "two"]) assert.throws(() => number("x", value), InputError);
    assert.deepEqual([number("x", undefined), number("x", "-1.5"), number("x", "1e-3")], [undefined, -1.5, 0.001]);
    for (const value of ["", "-1", "1.5", "0x10", "8"]) assert.throws(() => integer("x", value, 0, 7), InputError);
  });

  test("a schema for the answer", () => {
    const file = join(folder, "schema.json");
    writeFileSync(file, '{"type":"object"}');
    assert.deepEqual(answerOptions({ "json-schema": file }).format, {
      type: "json_schema",
      schema: { type: "object" },
    });
    writeFileSync(file, "{");
    for (const path of [file, join(folder, "none.json")])
      assert.throws(() => answerOptions({ "json-schema": path }), { name: "InputError", message: /^--json-schema: / });
  });

  test("the model: named, made of parts, or the one that comes along", () => {
    assert.equal(sourceOf({ model: "a" }), "a");
    assert.deepEqual(sourceOf({ vision: "a", language: "b" }), { vision: "a", language: "b" });
    assert.throws(() => sourceOf({ model: "a", vision: "b" }), InputError);
    assert.throws(() => sourceOf({ vision: "b" }), InputError);
    const here = pathToFileURL(`${MODEL}/`);
    assert.equal(defaultModel(here), fileURLToPath(here));
    assert.throws(() => defaultModel(pathToFileURL(`${folder}/none/`)), { name: "InputError", message: /^--model/ });
  });
});

describe("the terminal", () => {
  test("rate and time left", () => {
    assert.match(progressText(30, 120, 15_000), /█{6}░{18} 30\/120 · 2\.0\/s · 45 s left$/);
    assert.match(progressText(1, 3, 60_000), /1\/3 · 1\.0\/min · 2 min 0 s left$/);
    assert.match(progressText(0, 3, 60_000), /░ 0\/3$/);
    assert.deepEqual([0.2, 61, 7 * 3600 + 61].map(duration), ["1 s", "1 min 1 s", "7 h 1 min"]);
  });

  test("a bar is drawn on terminals only, lines above it on both", () => {
    const drawn = (isTTY: boolean): string => {
      const written: string[] = [];
      const stream = { isTTY, columns: 60, write: (part: string) => written.push(part) };
      const bar = new ProgressBar(stream as unknown as ConstructorParameters<typeof ProgressBar>[0], 2);
      bar.line("one");
      bar.clear();
      return written.join("");
    };
    assert.equal(drawn(false), "one\n");
    assert.match(drawn(true), /0\/2.*\r\S+one\n.*0\/2/s);
  });

  test("commands of a conversation", () => {
    assert.equal(readCommand("what is /image?"), undefined);
    assert.equal(readCommand("/etc/hosts is what?"), undefined);
    assert.deepEqual(readCommand("/image a b.jpg "), { name: "image", argument: "a b.jpg" });
    assert.deepEqual(readCommand('/image "a b.jpg"'), { name: "image", argument: "a b.jpg" });
    assert.deepEqual(readCommand("/quit"), { name: "exit", argument: "" });
    if (process.platform !== "win32") assert.equal(readCommand("/video a\\ b.mp4")?.argument, "a b.mp4");
    for (const line of ["/nope", "/image", "/save  "]) assert.throws(() => readCommand(line), InputError);
  });

  test("which file a question failed for", () => {
    const shown = { images: ["a.jpg", "https://x.org/b.jpg?q=1"], videos: ["c.mp4", "d.mp4"] };
    const found = (message: string, videosRead: number) => culprit(new Error(message), shown, videosRead);
    assert.deepEqual([found("video: cut off", 0), found("video: cut off", 1)], ["c.mp4", "d.mp4"]);
    assert.equal(found("a.jpg: no such file", 2), "a.jpg");
    assert.equal(found("https://x.org/b.jpg: expected JPEG", 2), "https://x.org/b.jpg?q=1");
    assert.equal(found("the prompt is too long", 2), undefined);
  });

  test("history is kept in the cache folder, oldest lines forgotten", () => {
    const file = historyFile({ XDG_CACHE_HOME: folder });
    assert.equal(file, join(folder, "fastvlm", "chat_history"));
    assert.deepEqual(readHistory(file), []);
    writeHistory(file, ["new", "old"]);
    assert.deepEqual(readHistory(file), ["new", "old"]);
    writeHistory(
      file,
      Array.from({ length: 1200 }, (_, i) => `${i}`),
    );
    assert.deepEqual([readHistory(file).length, readHistory(file)[0]], [1000, "0"]);
    writeHistory(join(file, "below a file"), ["x"]); // cannot be written, and that is all right
  });
});

describe("programs", () => {
  test("each lists its flags", async () => {
    const flags = {
      generate: ["--prompt TEXT .*the flag may be left out", "--trace", "--json"],
      inspect: ["--vision", "--projector", "--language", "--json"],
      doctor: ["--json"],
      demo: [],
    };
    const check = async ([command, lines]: [string, string[]]): Promise<void> => {
      const { code, stdout } = await run([command, "--help"]);
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^fastvlm ${command}`));
      for (const line of lines) assert.match(stdout, new RegExp(line));
    };
    await Promise.all(Object.entries(flags).map(check));
    assert.match((await run(["help"])).stdout, /^generate, chat and caption .*--model DIR/m);
  });

  test("what is rounded is kept for the next start, listed and removed", async () => {
    const env = { XDG_CACHE_HOME: join(folder, "cache") };
    const program = async (...args: string[]): Promise<string> => {
      const { child, ended } = start(args, undefined, env);
      child.stdin.end();
      const { code, stdout, stderr } = await ended;
      assert.deepEqual([code, stderr], [0, ""]);
      return stdout;
    };
    const rounding = ["--quantize", "int4", "--embeddings", "int4"];
    const question = ["generate", "--model", MODEL, ...rounding, "--max-tokens", "4", "--prompt", "What?"];
    await program(...question, "--no-cache");
    assert.match(await program("cache"), /codes: 0 files, 0\.00 GB\n$/);
    const answer = await program(...question);
    assert.match(await program("cache"), /^ +0\.00 GB {2}last used \S+ {2}[0-9a-f]{64}\.safetensors\n.*codes: 1 file/);
    assert.equal(await program(...question), answer);
    assert.match(await program("cache", "--clear"), /1 file, 0\.00 GB, removed\n$/);
    assert.match(await program("cache"), /: 0 files/);
  });

  test("generate: pictures, a clip, sampling flags, in other scripts' spellings", async () => {
    const flags = ["--image_path", PICTURE, "--image-file", PICTURE, "--video_path", CLIP, "--frames", "2"];
    const sampling = ["--temperature", "0.7", "--top_p", "0.9", "--top-k", "20", "--min-p", "0.01", "--seed", "5"];
    const more = ["--repetition-penalty", "1.1", "--stop", "never said", "--max_new_tokens", "3", "--json"];
    const { code, stdout, stderr } = await run([
      "generate",
      "--model-path",
      MODEL,
      ...flags,
      ...sampling,
      ...more,
      "What?",
    ]);
    assert.equal(code, 0, stderr);
    const { usage, tokens } = JSON.parse(stdout) as Result;
    assert.deepEqual([usage.imageTokens, usage.completionTokens, tokens.length], [4 * 9, 3, 3]);
  });

  test("mistakes end with code 2 and a hint", async () => {
    const { code, stdout, stderr } = await run(["generate", "--model", MODEL, "--prompt", "?", "--top-p", "7"]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /^error: topP: expected a number above 0 to 1, got 7\n/);
    const alone = await run(["generate", "--model", MODEL, "--prompt", "?", "--embeddings", "int4"]);
    assert.equal(alone.code, 2);
    assert.match(alone.stderr, /^error: embeddings: int4 was asked for without quantize\nhint: .*--quantize int4/);
    const glob = ["--model", MODEL, "--image", PICTURE, "b.jpg", "c.jpg"];
    for (const args of [
      ["generate", "--prompt", "?", ...glob],
      ["chat", ...glob],
    ]) {
      const surplus = await run(args);
      assert.deepEqual([surplus.code, surplus.stdout], [2, ""]);
      assert.match(
        surplus.stderr,
        /^error: \w+: expected nothing beside flags, got "b.jpg" and 1 more\nhint: .*--image/,
      );
    }
    for (const command of ["doctor", "demo", "cache"]) {
      const surplus = await run([command, "x"]);
      assert.equal(surplus.code, 2);
      assert.match(surplus.stderr, /^error: \w+: expected nothing beside flags, got "x"\nhint: /);
    }
    for (const trace of [join(folder, "none", "t"), join(PICTURE, "t"), folder]) {
      const early = await run(["generate", "--model", "not loaded", "--prompt", "?", "--trace", trace]);
      assert.equal(early.code, 2);
      assert.ok(early.stderr.startsWith(`error: ${trace}: `), early.stderr);
    }
    const both = await run(["inspect", MODEL, "--vision", MODEL, "--language", MODEL]);
    assert.equal(both.code, 2);
    assert.match(
      both.stderr,
      /^error: inspect: expected either a folder or --vision with --language, got both\nhint: /,
    );
    const unknown = await run(["dream"]);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /unknown command "dream".*\nhint: /s);
  });

  test("chat: commands and questions from a pipe; mistakes do not end it", async () => {
    const saved = join(folder, "conversation.json");
    const notes = join(folder, "notes.txt");
    writeFileSync(notes, "not a picture");
    const lines = [
      "/image none.jpg",
      `/image ${notes}`,
      `/image ${PICTURE}`,
      "What is it?",
      "/wrong",
      "And?",
      `/save ${saved}`,
      "/exit",
      "no",
    ];
    const { code, stdout, stderr } = await run(["chat", "--model", MODEL, "--max-tokens", "3"], lines.join("\n"));
    assert.equal(code, 2, "there were mistakes");
    assert.match(stderr, /none\.jpg: no such file.*notes\.txt: expected JPEG.*\/wrong: no such command/s);
    const messages = JSON.parse(readFileSync(saved, "utf8")) as Message[];
    const [question, answer, next, last] = messages;
    assert.deepEqual(question, {
      role: "user",
      content: [
        { type: "image", image: PICTURE },
        { type: "text", text: "What is it?" },
      ],
    });
    assert.deepEqual(next?.content, [{ type: "text", text: "And?" }]);
    assert.equal(messages.length, 4);
    assert.equal(stdout, `${answer?.content}\n${last?.content}\n`);
  });

  test("chat: what a question without an answer was to show goes with the next, but for what cannot be shown", async () => {
    const saved = join(folder, "shown.json");
    const notes = join(folder, "notes.txt");
    writeFileSync(notes, "not a video");
    const lines = [
      `/video ${notes}`,
      `/image ${PICTURE}`,
      "What is it?",
      "very ".repeat(2000),
      "And now?",
      `/video ${notes}`,
      "/forget",
      "And that?",
      `/save ${saved}`,
    ];
    const { code, stderr } = await run(["chat", "--model", MODEL, "--max-tokens", "3"], lines.join("\n"));
    assert.equal(code, 2, "there were mistakes");
    assert.match(
      stderr,
      /^.*notes\.txt is left out .*:\nerror: video: .*\n(hint: .*\n)?What was to be shown goes with .*\nerror: .* tokens .* together/,
    );
    const messages = JSON.parse(readFileSync(saved, "utf8")) as Message[];
    assert.deepEqual(messages[0]?.content, [
      { type: "image", image: PICTURE },
      { type: "text", text: "And now?" },
    ]);
    assert.deepEqual(messages[2]?.content, [{ type: "text", text: "And that?" }]);
  });

  test("chat: a picture that cannot be decoded is refused when it is attached, wherever its bytes are", async () => {
    const lines = ["/image data:image/png;base64,AAAA", "What?"];
    const { code, stdout, stderr } = await run(["chat", "--model", MODEL, "--max-tokens", "3"], lines.join("\n"));
    assert.equal(code, 2);
    assert.match(stderr, /^error: image: .*\n(hint: .*\n)?$/);
    assert.match(stdout, /\S/);
  });

  test("JSON that --max-tokens cuts off is said", async () => {
    const schema = join(folder, "text.json");
    const pictures = join(folder, "pictures");
    writeFileSync(schema, '{"type":"string","minLength":400}');
    mkdirSync(pictures);
    copyFileSync(PICTURE, join(pictures, "a.jpg"));
    const flags = ["--model", MODEL, "--max-tokens", "3", "--json-schema", schema];
    const warning = "warning: the answer reached --max-tokens and may lack the end of its JSON";
    const said = async (args: string[], input = ""): Promise<string> => (await run([...args, ...flags], input)).stderr;
    assert.equal(await said(["generate", "What?"]), `${warning}\n`);
    assert.equal(await said(["chat"], "What?"), `${warning}\n`);
    assert.equal(await said(["caption", pictures]), `${warning}: a.jpg\n1 captioned\n`);
  });

  test("chat: Ctrl-C ends the answer, twice the program", async () => {
    const saved = join(folder, "stopped.json");
    const { child, ended } = start(["chat", "--model", MODEL, "--max-tokens", "400", "--system", "S"]);
    const output = (): Promise<void> => new Promise((resolve) => child.stdout.once("data", () => resolve()));
    /** Resolves when the answer has ended. */
    const interrupt = (): Promise<void> =>
      new Promise((resolve) => {
        child.stdout.on("data", (text: string) => text.endsWith("\n") && resolve());
        child.kill("SIGINT");
      });
    child.stdin.write("Tell me all.\n");
    await output();
    await interrupt();
    child.stdin.write(`/save ${saved}\nGo on.\n`);
    await output();
    await interrupt();
    child.kill("SIGINT");
    const { code, stderr } = await ended;
    assert.deepEqual([code, stderr], [130, ""]);
    const messages = JSON.parse(readFileSync(saved, "utf8")) as Message[];
    assert.deepEqual(
      messages.map(({ role }) => role),
      ["system", "user", "assistant"],
    );
    assert.ok((messages[2]!.content as string).length > 0);
  });
});
