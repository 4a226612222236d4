import type { PromptPart } from "./chat_template.ts";
import { RunEncoder } from "./run_encoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The place of an image in a prompt: its index among the prompt's images. */
export interface ImageSlot {
  readonly image: number;
}

/** Token ids of a rendered prompt, with a slot where each image's tokens go. */
export function tokenizePrompt(parts: readonly PromptPart[], tokenizer: Tokenizer): (number | ImageSlot)[] {
  const encoder = new RunEncoder<ImageSlot>(tokenizer);
  for (const part of parts) {
    if ("image" in part) encoder.token({ image: part.image });
    else if ("markup" in part) encoder.markup(part.markup);
    else encoder.text(part.text);
  }
  return encoder.finish();
}
