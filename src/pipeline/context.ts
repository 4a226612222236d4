import { ContextError } from "../errors.ts";

/**
 * Throws ContextError, before any GPU work, when prompt and answer do not fit.
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
