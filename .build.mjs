// Builds the published package: JavaScript and declarations in `dist/`, laid out like the sources, with the shaders' text in the
// modules that use them, so that every bundler and every server takes them as they are.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("./", import.meta.url));
const dist = join(root, "dist");
const SHADER = /new URL\("(\.\.\/shaders\/[^"]+\.wgsl)", import\.meta\.url\)/g;
/** A checkpoint small enough to travel with the package. */
const DEMO_CHECKPOINT = "weights/fastvlm-tiny";

/** @param {string} text */
const literal = (text) => `\`${text.replace(/[\\`]|\$(?=\{)/g, "\\$&")}\``;

rmSync(dist, { recursive: true, force: true });
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
execFileSync(process.execPath, [tsc, "-p", join(root, ".tsconfig.build.json")], { stdio: "inherit" });

let shaders = 0;
for (const name of readdirSync(join(dist, "kernels")).filter((file) => file.endsWith(".js"))) {
  const path = join(dist, "kernels", name);
  const code = readFileSync(path, "utf8").replace(SHADER, (_, /** @type {string} */ relative) => {
    shaders++;
    return literal(readFileSync(join(root, "kernels", relative), "utf8"));
  });
  if (/\.wgsl",/.test(code)) throw new Error(`${path}: a shader is named in a way that the build does not know`);
  writeFileSync(path, code);
}
if (existsSync(join(root, DEMO_CHECKPOINT))) {
  cpSync(join(root, DEMO_CHECKPOINT), join(dist, DEMO_CHECKPOINT), { recursive: true });
}
console.log(`built dist with ${shaders} shaders`);
