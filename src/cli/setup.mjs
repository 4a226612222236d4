// Installs what a checkout needs, so that `npm start` and `npm test` work right after a clone; with arguments, then runs Node 24 with
// them. Plain JavaScript for Node 20 without dependencies: it runs before anything is installed.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findNode24, runOnNode24 } from "./node24.mjs";

/** @typedef {Record<string, { version?: string, optional?: boolean }>} Packages */

const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * The packages that a lock file names.
 *
 * @param {string} path of `package-lock.json`, or of the copy npm leaves in `node_modules` when it is done
 * @returns {Packages | undefined}
 */
function packages(path) {
  try {
    return JSON.parse(readFileSync(root + path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** True when every package of the lock file is there in its version; optional ones may be missing (other platforms'). */
function isInstalled() {
  const wanted = packages("package-lock.json");
  const installed = packages("node_modules/.package-lock.json");
  if (!wanted || !installed) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (!path.includes("node_modules/")) return true;
    const found = installed[path];
    return found ? found.version === version : optional === true;
  });
}

/** @param {string} message */
function fail(message) {
  console.error(`fastvlm: ${message}`);
  process.exit(1);
}

function install() {
  // npm says where it is and which Node runs it; the `node` on the path may be the one that is about to be replaced.
  const { npm_execpath: npm = "", npm_node_execpath: node = process.execPath } = process.env;
  const command = npm.endsWith("npm-cli.js") ? [node, npm] : ["npm"];
  // Not `npm ci`: it refuses a lock file that lacks an optional package of some other platform, which some mirrors do not carry.
  const args = ["install", "--no-save", "--loglevel=error", "--prefer-offline", "--no-audit", "--no-fund"];
  const shell = command.length === 1 && process.platform === "win32";
  const [program = "npm", ...rest] = [...command, ...args];
  console.log("fastvlm: installing the packages (once; about 600 MB on disk) …");
  const started = Date.now();
  const { status, error } = spawnSync(program, rest, { cwd: root, stdio: ["ignore", "ignore", "inherit"], shell });
  if (error) fail(`npm did not start: ${error.message}`);
  if (status !== 0)
    fail("npm install failed, for the reason above. It needs the network, and write access to this folder.");
  console.log(`fastvlm: installed in ${Math.round((Date.now() - started) / 1000)} s`);
}

if (Number.parseInt(process.versions.node, 10) < 20) fail(`expected Node 20 or later, got ${process.versions.node}`);
if (!isInstalled()) install();
if (!findNode24()) {
  fail(
    `no Node 24 from npm for ${process.platform}-${process.arch}: install Node 24 or later (this is ${process.versions.node})`,
  );
}

const args = process.argv.slice(2);
if (args.length > 0) runOnNode24(args);
