/**
 * Draws the things of the training pictures: Noto emoji (Apache-2.0) as
 * 128 x 128 RGBA files `<folder>/<noun>.png`.
 *
 *   npm install --no-save @iconify-json/noto @resvg/resvg-js
 *   node train/render.mjs <folder>
 */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { Resvg } = require("@resvg/resvg-js");
const icons = JSON.parse(fs.readFileSync(require.resolve("@iconify-json/noto/icons.json"), "utf8"));

/** Noun -> name of the Noto icon. */
const THINGS = {
  cat: "cat-face",
  dog: "dog-face",
  mouse: "mouse-face",
  bear: "bear",
  panda: "panda",
  lion: "lion",
  frog: "frog",
  monkey: "monkey-face",
  chick: "baby-chick",
  fish: "tropical-fish",
  whale: "spouting-whale",
  octopus: "octopus",
  butterfly: "butterfly",
  turtle: "turtle",
  elephant: "elephant",
  horse: "horse",
  apple: "red-apple",
  banana: "banana",
  grape: "grapes",
  strawberry: "strawberry",
  cherry: "cherries",
  lemon: "lemon",
  carrot: "carrot",
  mushroom: "mushroom",
  pizza: "pizza",
  burger: "hamburger",
  donut: "doughnut",
  cake: "birthday-cake",
  car: "automobile",
  bus: "bus",
  bicycle: "bicycle",
  airplane: "airplane",
  rocket: "rocket",
  boat: "sailboat",
  train: "locomotive",
  tractor: "tractor",
  tree: "deciduous-tree",
  flower: "sunflower",
  rose: "rose",
  cactus: "cactus",
  sun: "sun-with-face",
  moon: "crescent-moon",
  star: "star",
  cloud: "cloud",
  snowman: "snowman",
  house: "house",
  clock: "alarm-clock",
  key: "key",
  book: "open-book",
  pencil: "pencil",
  guitar: "guitar",
  ball: "soccer-ball",
  umbrella: "umbrella-with-rain-drops",
  heart: "red-heart",
  bell: "bell",
  lamp: "light-bulb",
  camera: "camera",
  phone: "mobile-phone",
  gift: "wrapped-gift",
  balloon: "balloon",
  crown: "crown",
  hat: "top-hat",
  shoe: "running-shoe",
  cup: "teacup-without-handle",
  chair: "chair",
  robot: "robot",
  anchor: "anchor",
  drum: "drum",
};

const folder = process.argv[2];
if (!folder) throw new Error("usage: node train/render.mjs <folder>");
fs.mkdirSync(folder, { recursive: true });
for (const [noun, id] of Object.entries(THINGS)) {
  const icon = icons.icons[id];
  if (!icon) throw new Error(`no icon ${id} for ${noun}`);
  const width = icon.width ?? icons.width ?? 128;
  const height = icon.height ?? icons.height ?? 128;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${width} ${height}" width="128" height="128">${icon.body}</svg>`;
  fs.writeFileSync(path.join(folder, `${noun}.png`), new Resvg(svg).render().asPng());
}
console.log(`${Object.keys(THINGS).length} things drawn`);
