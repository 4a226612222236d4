// Time to first token: `node bench/ttft.ts --model DIR --image FILE`. The bench itself is bench/ttft.run.mts; this file is plain
// JavaScript within a package without "type", so that Node 20 can start it too and hand over to the checkout's Node 24.
const { spawnSync } = require("node:child_process");
const { existsSync } = require("node:fs");
const { join } = require("node:path");

const [major, minor] = process.versions.node.split(".").map(Number);
const node = join(__dirname, "../node_modules/.bin/node");
const run = join(__dirname, "ttft.run.mts");

if (major > 22 || (major === 22 && minor >= 18)) {
  import("./ttft.run.mts");
} else if (existsSync(node)) {
  process.exitCode = spawnSync(node, [run, ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1;
} else {
  console.error("This needs Node 22.18 or later, or the checkout's own: run npm install first.");
  process.exitCode = 1;
}
