import { Template } from "@huggingface/jinja";
import { TextError } from "../errors.ts";
import { type ChatMessage, type ChatTemplate, contentOf, type PromptPart } from "./chat_template.ts";
import { isObject, type JsonObject, namedToken, parseObject, type TextFiles } from "./files.ts";

/**
 * The chat template that a checkpoint brings, or undefined: `chat_template.jinja`, `chat_template.json`, or the setting
 * `chat_template` of `tokenizer_config.json`, in this order.
 *
 * @throws TextError naming the file when a template does not parse
 */
export function checkpointTemplate(files: TextFiles): ChatTemplate | undefined {
  const config = files["tokenizer_config.json"];
  const settings = config === undefined ? {} : parseObject("tokenizer_config.json", config);
  const jinja = files["chat_template.jinja"];
  if (jinja !== undefined) return jinjaTemplate("chat_template.jinja", jinja, settings);
  const json = files["chat_template.json"];
  const sources = {
    "chat_template.json": json === undefined ? {} : parseObject("chat_template.json", json),
    "tokenizer_config.json": settings,
  };
  for (const [name, { chat_template: template }] of Object.entries<JsonObject>(sources)) {
    if (template === undefined || template === null) continue;
    const source = Array.isArray(template) ? defaultOf(template) : template;
    if (typeof source !== "string")
      throw new TextError(`${name}: chat_template: expected a template, or a list with a default`);
    return jinjaTemplate(name, source, settings);
  }
  return undefined;
}

const defaultOf = (templates: readonly unknown[]): unknown =>
  templates.filter(isObject).find(({ name }) => name === "default")?.template;

/**
 * Private-use characters around the number of a text or an image, while the template is at work; and what templates write
 * for an image themselves.
 */
const MARK = /\ue000(text|image)(\d+)\ue001|<image>/g;
const TOKEN_NAMES = ["bos_token", "eos_token", "pad_token", "unk_token"] as const;

/**
 * A chat template in Jinja.
 *
 * The template sees a numbered mark in place of every text, so that what people write cannot be taken for markup or for
 * an image. White space around a text stays in sight, because many templates trim it.
 *
 * Templates differ in the form of content they take, a string or a list of parts. Both are tried, and the first that
 * brings out every text and image is taken.
 *
 * @param name     file it comes from, for messages
 * @param settings `tokenizer_config.json`, for the names of special tokens
 * @throws TextError when it does not parse
 */
export function jinjaTemplate(name: string, source: string, settings: JsonObject = {}): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    throw new TextError(`${name}: the chat template does not parse: ${(cause as Error).message}`, { cause });
  }
  const tokens = Object.fromEntries(
    TOKEN_NAMES.map((token) => [token, namedToken(settings, token)]).filter(([, value]) => value),
  );

  return (messages) => {
    const marked = new MarkedMessages(messages);
    const forms = marked.images > 0 ? [marked.asLists(), marked.asStrings()] : [marked.asStrings(), marked.asLists()];
    let failure: unknown;
    for (const form of forms) {
      try {
        const parts = marked.split(template.render({ ...tokens, messages: form, add_generation_prompt: true }));
        if (parts) return parts;
      } catch (cause) {
        failure ??= cause;
      }
    }
    const reason = failure instanceof Error ? failure.message : "it leaves out a text or an image";
    throw new TextError(`${name}: the chat template refuses this conversation: ${reason}`, { cause: failure });
  };
}

/** Messages with marks for texts and images, and the way back. */
class MarkedMessages {
  readonly images: number;
  readonly #texts: string[] = [];
  readonly #messages: readonly { role: string; images: string[]; texts: string[] }[];

  constructor(messages: readonly ChatMessage[]) {
    let count = 0;
    this.#messages = messages.map((message) => {
      const { images, texts } = contentOf(message);
      return {
        role: message.role,
        images: Array.from({ length: images }, () => `\ue000image${count++}\ue001`),
        texts: texts.map((text) => this.#mark(text)),
      };
    });
    this.images = count;
  }

  #mark(text: string): string {
    const core = text.trim();
    if (core === "") return text;
    const start = text.indexOf(core);
    const mark = `\ue000text${this.#texts.push(core) - 1}\ue001`;
    return text.slice(0, start) + mark + text.slice(start + core.length);
  }

  /** Images, a newline, the texts: what models without lists of parts were trained on. */
  asStrings(): unknown[] {
    return this.#messages.map(({ role, images, texts }) => {
      return { role, content: [...(images.length > 0 ? [images.join("")] : []), ...texts].join("\n") };
    });
  }

  asLists(): unknown[] {
    return this.#messages.map(({ role, images, texts }) => {
      return {
        role,
        content: [...images.map(() => ({ type: "image" })), ...texts.map((text) => ({ type: "text", text }))],
      };
    });
  }

  /** The parts of a rendered prompt; undefined unless it has every text, and every image once and in order. */
  split(rendered: string): PromptPart[] | undefined {
    const parts: PromptPart[] = [];
    const seen = new Set<string>();
    let images = 0;
    let end = 0;
    for (const match of rendered.matchAll(MARK)) {
      const [whole, kind = "image", number = String(images)] = match;
      parts.push({ markup: rendered.slice(end, match.index) });
      end = match.index + whole.length;
      if (kind === "text") {
        const text = this.#texts[Number(number)];
        if (text === undefined) return undefined;
        parts.push({ text });
        seen.add(number);
      } else {
        if (Number(number) !== images) return undefined;
        parts.push({ image: images++ });
      }
    }
    parts.push({ markup: rendered.slice(end) });
    return images === this.images && seen.size === this.#texts.length ? parts : undefined;
  }
}
