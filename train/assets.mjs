// Draws the things' emoji as 192-pixel PNGs and copies the fonts: node assets.mjs [OUT]   (default .assets)
import fs from "node:fs";
import { Resvg } from "@resvg/resvg-js";

const SIZE = 192;
const FONTS = [
  "roboto-latin-700",
  "merriweather-latin-700",
  "comic-neue-latin-700",
  "roboto-mono-latin-700",
  "oswald-latin-600",
];

const out = process.argv[2] ?? new URL(".assets", import.meta.url).pathname;
fs.mkdirSync(out, { recursive: true });
const module = (path) => new URL(`node_modules/${path}`, import.meta.url);
const set = JSON.parse(fs.readFileSync(module("@iconify-json/noto/icons.json"), "utf8"));
const python = fs.readFileSync(new URL("things.py", import.meta.url), "utf8");
const things = [...python.matchAll(/"(\w+)": \("([\w-]+)", "/g)].map(([, name, icon]) => ({ name, icon }));

for (const { name, icon } of things) {
  const drawing = set.icons[icon];
  if (!drawing) throw new Error(`@iconify-json/noto has no icon ${icon}`);
  const { width = set.width ?? 128, height = set.height ?? 128, body } = drawing;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${width} ${height}" width="${SIZE}" height="${SIZE}">${body}</svg>`;
  fs.writeFileSync(`${out}/${name}.png`, new Resvg(svg).render().asPng());
}
for (const font of FONTS) {
  const family = font.slice(0, font.indexOf("-latin"));
  fs.copyFileSync(module(`@fontsource/${family}/files/${font}-normal.woff`), `${out}/${family}.woff`);
}
console.log(`${things.length} things and ${FONTS.length} fonts in ${out}`);
