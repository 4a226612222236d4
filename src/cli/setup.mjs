// Installs what is missing, so that `npm start` and `npm test` work right after a clone. Plain JavaScript for Node 20: it runs
// before anything is installed.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const lock = `${root}package-lock.json`;
const installed = `${root}node_modules/.fastvlm-installed.json`;

const read = (path) => (existsSync(path) ? readFileSync(path, "utf8") : undefined);

if (Number(process.versions.node.split(".")[0]) < 20) {
  fail(`Node ${process.versions.node} is too old: expected 20 or later.`);
}
if (read(installed) !== read(lock) || read(lock) === undefined) {
  console.error("Installing dependencies (about 300 MB, once) …");
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const args = ["ci", "--no-fund", "--no-audit", "--loglevel=error"];
  const { status, error } = spawnSync(npm, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"], shell: process.platform === "win32" });
  if (error) fail(`npm could not be started: ${error.message}`);
  if (status !== 0) fail("npm ci failed; the lines above say why. Is the network there?");
  copyFileSync(lock, installed);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
