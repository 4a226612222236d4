import { ContextError } from "../errors.ts";

/**
 * Throws ContextError when prompt and answer do not fit. Nothing has been looked at or read by then, whatever was decoded.
 *
 * @param limit tokens that the context holds
 */
export function checkContext(promptTokens: number, maxTokens: number, limit: number): void {
  if (promptTokens === 0) throw new ContextError("the prompt is empty: expected at least one token");
  if (promptTokens + maxTokens <= limit) return;
  throw new ContextError(
    `the prompt has ${promptTokens} tokens and the answer may have ${maxTokens}: expected at most ${limit} together, the model's context`,
    { hint: "Shorten the prompt, lower --max-tokens, or use fewer or smaller images." },
  );
}
