// What `npm pack` would publish: it loads, and projects of different settings understand its types without skipping any.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");

const PROGRAM = `import { FastVLM, type Message, type Piece } from "fastvlm";
const vlm: FastVLM = await FastVLM.load("folder", { quantize: "int4", signal: AbortSignal.timeout(1000) });
const messages: Message[] = [{ role: "user", content: [{ type: "image", image: new Uint8Array(3) }] }];
for await (const piece of vlm.chat(messages, { maxTokens: 1 })) show(piece);
function show({ text, result }: Piece): string { return text + (result?.finishReason ?? ""); }
vlm.close();
`;
/** Projects by name: what their settings add. */
const PROJECTS = {
  "Node, that knows no WebGPU": { module: "nodenext", lib: ["es2022"], types: ["node"] },
  "Node, that knows WebGPU": { module: "nodenext", lib: ["es2023", "dom"], types: ["node"] },
  "a bundler's, for browsers": { module: "esnext", moduleResolution: "bundler", lib: ["es2022", "dom"], types: [] },
};

describe("the published package", { skip: !existsSync(tsc) && "typescript is not installed" }, () => {
  const folder = mkdtempSync(join(tmpdir(), "fastvlm-package-"));
  after(() => rmSync(folder, { recursive: true }));
  before(async () => {
    await run(process.execPath, [join(root, ".build.mjs")]);
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules/fastvlm"), "junction");
    symlinkSync(join(root, "node_modules/@types"), join(folder, "node_modules/@types"), "junction");
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(join(folder, "program.ts"), PROGRAM);
  });

  for (const [name, options] of Object.entries(PROJECTS)) {
    test(`has types for a project of ${name}`, async () => {
      const compilerOptions = {
        ...options,
        strict: true,
        exactOptionalPropertyTypes: true,
        target: "es2022",
        noEmit: true,
      };
      const config = join(folder, "tsconfig.json");
      writeFileSync(config, JSON.stringify({ compilerOptions, files: ["program.ts"] }));
      const { stdout } = await run(process.execPath, [tsc, "-p", config]).catch((error: { stdout: string }) => error);
      assert.equal(stdout, "");
    });
  }

  test("loads in Node", async () => {
    const code = 'import { FastVLM, nodeFolder } from "fastvlm"; console.log(typeof FastVLM.load, typeof nodeFolder);';
    writeFileSync(join(folder, "program.mjs"), code);
    const { stdout } = await run(process.execPath, [join(folder, "program.mjs")]);
    assert.equal(stdout.trim(), "function function");
  });
});
