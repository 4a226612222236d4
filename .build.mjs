// Builds the published package: JavaScript and declarations in `dist/`, laid out like the sources, with the shaders' text in the
// modules that use them, so that every bundler and every server takes them as they are.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
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

// Declarations know WebGPU's interfaces where a project's settings bring them along, and are whole where not.
const GPU_TYPES = "gpu_types.d.ts";
/** @type {Set<string>} */
const named = new Set();
for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".d.ts"))) {
  const path = join(dist, file);
  const text = readFileSync(path, "utf8");
  const names = [...new Set(text.match(/\bGPU[A-Z]\w+|(?<=: |\| )GPU\b/g))].sort();
  for (const name of names) named.add(name);
  const from = relative(dirname(path), join(dist, GPU_TYPES))
    .replaceAll("\\", "/")
    .replace(/^(?!\.)/, "./");
  const types = names.length > 0 ? `import type { ${names.join(", ")} } from "${from}";\n` : "";
  const disposable = text.includes("Symbol.dispose") ? '/// <reference lib="esnext.disposable" />\n' : "";
  writeFileSync(path, disposable + types + text);
}
const interfaces = [...named].sort().map((name) => `export type ${name} = Known<"${name}">;\n`);
const known =
  "type Known<Name extends string> = typeof globalThis extends { [N in Name]: { prototype: infer T } } ? T : unknown;\n";
writeFileSync(join(dist, GPU_TYPES), [known, ...interfaces].join(""));

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
