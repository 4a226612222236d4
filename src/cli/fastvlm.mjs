#!/usr/bin/env node
// Starts the command line: the TypeScript of a checkout, or the JavaScript of the published package. Plain JavaScript, since
// Node 20 cannot run the former; it hands over to a Node that can.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runOnNode24, runsTypeScript } from "./node24.mjs";

const source = new URL("./main.ts", import.meta.url);
const built = new URL("../../dist/src/cli/main.js", import.meta.url);

if (!existsSync(source)) await import(built.href);
else if (runsTypeScript()) await import(source.href);
else runOnNode24([fileURLToPath(source), ...process.argv.slice(2)]);
