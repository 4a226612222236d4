import { InputError } from "../errors.ts";
import type { ContentPart as TemplatePart } from "../text/chat_template.ts";
import { renderPrompt } from "../text/chat_template.ts";
import { tokenizePrompt } from "../text/prompt.ts";
import type { VideoInput } from "../video/types.ts";
import { checkImage, checkVideo } from "./given.ts";
import type { Loaded } from "./load.ts";
import type { Picture } from "./picture.ts";
import { framesOf, pictureOf } from "./pictures.ts";
import { shown } from "./shown.ts";
import type { ChatOptions, ContentPart, GenerateOptions, ImageInput, Message } from "./types.ts";

/** A message with its pictures, which are not read before they are needed. */
export interface Turn {
  readonly message: Message;
  /** What the template sees. */
  readonly content: string | readonly TemplatePart[];
  /** In the order of their slots. */
  readonly pictures: readonly Picture[];
}

/**
 * The conversation of one question about images.
 *
 * @throws InputError when it is none
 */
export function messagesOf({ prompt, images = [], system }: Omit<GenerateOptions, keyof ChatOptions>): Message[] {
  if (typeof prompt !== "string") throw new InputError(`prompt: expected text, got ${shown(prompt)}`);
  if (!Array.isArray(images)) {
    throw new InputError(`images: expected a list, got ${shown(images)}`, {
      hint: "Put a single image in a list: images: [image].",
    });
  }
  const pictures = (images as readonly ImageInput[]).map((image) => ({ type: "image", image }) as const);
  const question: Message = { role: "user", content: [...pictures, { type: "text", text: prompt }] };
  return system === undefined ? [question] : [{ role: "system", content: system }, question];
}

/**
 * Finds the pictures of messages, and reads videos.
 *
 * @param first index of the first message, for errors
 * @throws InputError when a message is malformed, or has images and the model reads text only
 */
export async function readTurns(
  loaded: Loaded,
  messages: readonly Message[],
  signal?: AbortSignal,
  first = 0,
): Promise<Turn[]> {
  if (!Array.isArray(messages)) throw new InputError(`messages: expected a list, got ${shown(messages)}`);
  const turns: Turn[] = [];
  for (const [i, message] of (messages as readonly Message[]).entries()) {
    turns.push(await readTurn(loaded, message, `messages[${first + i}]`, signal));
  }
  return turns;
}

async function readTurn(
  loaded: Loaded,
  message: Message,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Turn> {
  const content = message?.content;
  if (typeof content === "string") return { message, content, pictures: [] };
  if (!Array.isArray(content)) throw new InputError(`${name}.content: expected text, or a list of texts and images`);
  const parts: TemplatePart[] = [];
  const pictures: Picture[] = [];
  const show = (picture: Picture): void => {
    pictures.push(picture);
    parts.push({ type: "image" });
  };
  for (const [i, part] of (content as readonly ContentPart[]).entries()) {
    if (part?.type === "text") parts.push({ type: "text", text: textOf(part, `${name}.content[${i}]`) });
    else if (part?.type === "image" || part?.type === "image_url") {
      show(pictureOf(loaded, imageOf(part, `${name}.content[${i}]`)));
    } else if (part?.type === "video" || part?.type === "video_url") {
      const clip = await framesOf(loaded, videoOf(part, `${name}.content[${i}]`), part, signal);
      for (const [frame, picture] of clip.pictures.entries()) {
        if (part.timestamps)
          parts.push({ type: "text", text: `Frame ${frame + 1}: ${clip.seconds[frame]!.toFixed(1)} s` });
        show(picture);
      }
    } else throw wrongPart(part, `${name}.content[${i}]`);
  }
  return { message, content: parts, pictures };
}

const wrongPart = (part: ContentPart | undefined, name: string): InputError =>
  new InputError(`${name}: expected text, image, image_url, video or video_url, got ${JSON.stringify(part?.type)}`);

function textOf({ text }: ContentPart & { type: "text" }, name: string): string {
  if (typeof text === "string") return text;
  throw new InputError(`${name}.text: expected text, got ${shown(text)}`);
}

function imageOf(part: ContentPart & { type: "image" | "image_url" }, name: string): ImageInput {
  const image: unknown = part.type === "image" ? part.image : part.image_url?.url;
  checkImage(image, `${name}: ${part.type}`);
  return image;
}

function videoOf(part: ContentPart & { type: "video" | "video_url" }, name: string): VideoInput {
  const video: unknown = part.type === "video" ? part.video : part.video_url?.url;
  checkVideo(video, `${name}: ${part.type}`);
  return video;
}

/**
 * The context that a conversation amounts to, up to where the answer begins. Its pictures need not have been read.
 *
 * @throws InputError, TextError when the template refuses the conversation
 */
export function renderTurns({ template, tokenizer }: Loaded, turns: readonly Turn[]): (number | Picture)[] {
  const messages = turns.map(({ message: { role }, content }) => ({ role, content }));
  const pictures = turns.flatMap((turn) => turn.pictures);
  const prompt = tokenizePrompt(renderPrompt(messages, template), tokenizer);
  return prompt.map((item): number | Picture => (typeof item === "number" ? item : pictures[item.image]!));
}
