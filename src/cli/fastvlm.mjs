#!/usr/bin/env node
// Starts the command line. Plain JavaScript for Node 20, which cannot run TypeScript: in a checkout it hands over to the Node 24
// among the development dependencies; the published package has JavaScript beside this file.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [major, minor] = process.versions.node.split(".").map(Number);
const built = new URL("./main.js", import.meta.url);
const source = new URL("./main.ts", import.meta.url);
const runsTypeScript = major > 22 || (major === 22 && minor >= 18);

if (existsSync(built)) await import(built.href);
else if (runsTypeScript) await import(source.href);
else {
  const node = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
  if (!existsSync(node)) {
    console.error("error: a checkout needs Node 22.18 or later, or its own: run npm install first");
    process.exit(1);
  }
  const child = spawn(node, [fileURLToPath(source), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 143)));
}
