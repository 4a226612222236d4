import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { FastVLMError } from "../errors.ts";
import type { GrammarLibrary } from "../pipeline/structured.ts";

/**
 * Loads XGrammar, a new instance each time. The package says that it is an ES module and is a script, which Node cannot
 * import; so it is run here, as the script it is.
 */
export async function loadGrammarLibrary(): Promise<GrammarLibrary> {
  const here = createRequire(import.meta.url);
  let file: string;
  try {
    file = here.resolve("@mlc-ai/web-xgrammar");
  } catch (cause) {
    throw new FastVLMError("formats of answers need the package @mlc-ai/web-xgrammar, which is not installed", {
      cause,
      hint: "Run npm install @mlc-ai/web-xgrammar.",
    });
  }
  const script = { exports: {} };
  const quiet = { log: () => {}, warn: () => {}, error: () => {} };
  const run = new Function("module", "exports", "require", "__filename", "console", readFileSync(file, "utf8"));
  run(script, script.exports, createRequire(file), file, quiet);
  return script.exports as GrammarLibrary;
}
