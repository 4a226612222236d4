import { FastVLMError } from "../errors.ts";
import type { GrammarLibrary } from "../pipeline/structured.ts";

/** Loads XGrammar. As the package is a script, importing it as a module leaves it at a global name; bundlers may mend that. */
export async function loadGrammarLibrary(): Promise<GrammarLibrary> {
  try {
    const module: unknown = await import("@mlc-ai/web-xgrammar");
    const found = [module, (module as { default?: unknown }).default, (globalThis as { xgrammar?: unknown }).xgrammar];
    return found.find(
      (value) => typeof value === "object" && value !== null && "GrammarMatcher" in value,
    ) as GrammarLibrary;
  } catch (cause) {
    throw new FastVLMError("formats of answers need the package @mlc-ai/web-xgrammar, which cannot be loaded", {
      cause,
      hint: "Install the package, or name its address in the page's import map.",
    });
  }
}
