import { InputError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

export type ContentPart = { readonly type: "text"; readonly text: string } | { readonly type: "image" };

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  /** Text, or texts and images; images come first in the prompt wherever they stand. */
  readonly content: string | readonly ContentPart[];
}

/**
 * A piece of a prompt. `markup` was written by the template: names of special tokens in it stand for these tokens. `text`
 * was written by people or by the model: nothing in it is special. `image` is the index of an image.
 */
export type PromptPart = { readonly markup: string } | { readonly text: string } | { readonly image: number };

/** Turns checked messages into a prompt that ends where the assistant's answer begins. */
export type ChatTemplate = (messages: readonly ChatMessage[]) => readonly PromptPart[];

const ROLES: readonly string[] = ["system", "user", "assistant"];

/**
 * Renders a conversation as the parts of a prompt.
 *
 * @throws InputError when a message is malformed
 * @throws TextError when the template refuses the conversation, or leaves out a text or an image
 */
export function renderPrompt(messages: readonly ChatMessage[], template: ChatTemplate): PromptPart[] {
  if (messages.length === 0) throw new InputError("messages: expected at least one");
  messages.forEach((message, i) => {
    if (!ROLES.includes(message.role)) {
      throw new InputError(`messages[${i}].role: expected ${ROLES.join(", ")}, got ${JSON.stringify(message.role)}`);
    }
    const { content } = message;
    if (typeof content !== "string" && !(Array.isArray(content) && content.every(isContentPart))) {
      throw new InputError(`messages[${i}].content: expected text, or a list of texts and images`);
    }
  });
  return template(messages).filter(
    (part) => !("text" in part && part.text === "") && !("markup" in part && !part.markup),
  );
}

const isContentPart = (part: ContentPart): boolean =>
  part?.type === "image" || (part?.type === "text" && typeof part.text === "string");

/** A message's images and texts, apart. */
export function contentOf({ content }: ChatMessage): { images: number; texts: string[] } {
  if (typeof content === "string") return { images: 0, texts: [content] };
  const texts = content.filter((part) => part.type === "text").map((part) => part.text);
  return { images: content.length - texts.length, texts };
}

/** How a family of models marks turns. */
interface TurnFormat {
  /** System prompt of a conversation that brings none. */
  readonly system?: string;
  readonly open: (role: string) => string;
  readonly close: string;
}

const CHATML = { open: (role: string) => `<|im_start|>${role}\n`, close: "<|im_end|>\n" };

const FORMATS = {
  /** Qwen2's ChatML, which Apple's FastVLM checkpoints use. */
  qwen2: { ...CHATML, system: "You are a helpful assistant." },
  phi4: { open: (role: string) => `<|im_start|>${role}<|im_sep|>`, close: "<|im_end|>" },
  "phi4-mini": { open: (role: string) => `<|${role}|>`, close: "<|end|>" },
  /** ChatML with FastVLM's own system prompt. */
  fastvlm: {
    ...CHATML,
    system:
      "You are FastVLM, an advanced multimodal AI assistant powered by FastViTHD vision encoding and Phi4 language modeling. " +
      "You excel at understanding images and videos with exceptional speed and accuracy.",
  },
} as const satisfies Record<string, TurnFormat>;

export type BuiltInTemplate = keyof typeof FORMATS;

/** The template of a family of models, for checkpoints that bring none. Within a turn: images, a newline, the text. */
export function builtInTemplate(name: BuiltInTemplate): ChatTemplate {
  const { open, close, system }: TurnFormat = FORMATS[name];
  return (messages) => {
    const parts: PromptPart[] = [];
    let image = 0;
    const own =
      system !== undefined && messages[0]?.role !== "system" ? [{ role: "system", content: system } as const] : [];
    for (const message of [...own, ...messages]) {
      const { images, texts } = contentOf(message);
      parts.push({ markup: open(message.role) });
      for (let i = 0; i < images; i++) parts.push({ image: image++ });
      if (images > 0 && texts.length > 0) parts.push({ markup: "\n" });
      parts.push({ text: texts.join("\n") }, { markup: close });
    }
    return [...parts, { markup: open("assistant") }];
  };
}

/**
 * The built-in template that a vocabulary was made for, told by its special tokens.
 *
 * @returns undefined when it has none of them, as a model that was never trained to chat
 */
export function templateFor(tokenizer: Tokenizer): BuiltInTemplate | undefined {
  const has = (...names: string[]) => names.every((name) => tokenizer.idOf(name) !== undefined);
  if (has("<|im_start|>", "<|im_sep|>", "<|im_end|>")) return "phi4";
  if (has("<|user|>", "<|assistant|>", "<|end|>")) return "phi4-mini";
  return has("<|im_start|>", "<|im_end|>") ? "qwen2" : undefined;
}
