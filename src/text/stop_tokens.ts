import { isObject } from "./files.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens that end a turn in the models this library runs; a vocabulary has one or two of them. */
const END_OF_TURN = ["<|im_end|>", "<|end|>", "<|endoftext|>"];

/**
 * Ids of the tokens that end an answer: what the checkpoint's files say, and the ends of turns that its vocabulary has.
 *
 * The files alone are not enough: some checkpoints name only `<|endoftext|>`, while the model ends its turns otherwise.
 *
 * @param generationConfig contents of `generation_config.json`, if any
 * @param config           contents of `config.json`, if any
 */
export function stopTokens(tokenizer: Tokenizer, generationConfig?: unknown, config?: unknown): Set<number> {
  const textConfig = isObject(config) ? config.text_config : undefined;
  const stated = [generationConfig, config, textConfig].flatMap((file) =>
    isObject(file) ? [file.eos_token_id].flat() : [],
  );
  const named = END_OF_TURN.map((name) => tokenizer.idOf(name));
  const isId = (id: unknown): id is number => typeof id === "number" && Number.isInteger(id) && id >= 0;
  return new Set([...stated, ...named].filter(isId));
}
