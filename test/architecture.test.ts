import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Lower layers first. A file imports from its own layer and lower ones; types may be named upwards. */
const LAYERS = [
  ["src/abort.ts", "src/errors.ts", "src/tensor/"],
  ["src/gpu/"],
  ["weights/"],
  ["kernels/"],
  ["src/models/", "src/image/", "src/text/"],
  ["src/pipeline/", "src/video/"],
  ["src/index.ts", "src/node/", "src/web/"],
  ["src/node.ts", "src/web.ts"],
  ["src/cli/"],
];
const layerOf = (path: string): number => LAYERS.findIndex((layer) => layer.some((prefix) => path.startsWith(prefix)));

const filesUnder = (folder: string): string[] =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesUnder(path) : path.endsWith(".ts") ? [path] : [];
  });

const sources = ["src", "kernels", "weights"].flatMap(filesUnder);
const text = (path: string): string => readFileSync(join(root, path), "utf8");

test("imports point to lower layers", () => {
  const upward: string[] = [];
  for (const file of sources) {
    for (const [, types, target] of text(file).matchAll(/^(?:import|export) (type )?[^;]*? from "(\.[^"]+)"/gm)) {
      const to = normalize(join(dirname(file), target!));
      assert.notEqual(layerOf(file), -1, `${file} belongs to no layer`);
      if (!types && layerOf(to) > layerOf(file)) upward.push(`${file} → ${to}`);
    }
  }
  assert.deepEqual(upward, []);
});

test("only Node's own files import from node:", () => {
  const allowed = (file: string): boolean => /^src\/(node|cli)(\/|\.ts)/.test(file);
  assert.deepEqual(
    sources.filter((file) => !allowed(file) && /from "node:/.test(text(file))),
    [],
  );
});

test("every kernel is a shader, a dispatcher and a reference", () => {
  const stems = readdirSync(join(root, "kernels")).filter((name) => name.endsWith(".ref.ts") && name !== "all.ref.ts");
  const kernels = readdirSync(join(root, "kernels")).filter((name) => /defineKernel\(/.test(text(`kernels/${name}`)));
  assert.deepEqual(stems.map((name) => name.replace(".ref.ts", ".ts")).sort(), kernels.sort());
  const used = new Set(
    kernels.flatMap((name) =>
      [...text(`kernels/${name}`).matchAll(/shaders\/(\w+\.wgsl)/g)].map(([, shader]) => shader!),
    ),
  );
  assert.deepEqual(
    readdirSync(join(root, "shaders"))
      .filter((name) => name.endsWith(".wgsl"))
      .sort(),
    [...used].sort(),
  );
});

test("files stay readable: 330 lines, shaders 140", () => {
  const long = sources.filter((file) => text(file).split("\n").length > 331);
  const shaders = readdirSync(join(root, "shaders")).filter((name) => text(`shaders/${name}`).split("\n").length > 141);
  assert.deepEqual([...long, ...shaders], []);
});

test("a shader says first what it computes", () => {
  for (const name of readdirSync(join(root, "shaders")).filter((file) => file.endsWith(".wgsl"))) {
    assert.match(text(`shaders/${name}`).split("\n")[0]!, /^\/\/ .*(=|←)/, name);
  }
});
