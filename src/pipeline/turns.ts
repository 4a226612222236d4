import { InputError } from "../errors.ts";
import { planResize, preprocess } from "../image/preprocess.ts";
import type { ContentPart as TemplatePart } from "../text/chat_template.ts";
import { renderPrompt } from "../text/chat_template.ts";
import { tokenizePrompt } from "../text/prompt.ts";
import { dataUrlBytes, isDataUrl } from "./data_url.ts";
import type { Loaded } from "./load.ts";
import { Picture, type Square } from "./picture.ts";
import { platform } from "./platform.ts";
import type { ContentPart, ImageInput, Message } from "./types.ts";

/** A message with its pictures, which are not read before they are needed. */
export interface Turn {
  readonly message: Message;
  /** What the template sees. */
  readonly content: string | readonly TemplatePart[];
  /** In the order of their slots. */
  readonly pictures: readonly Picture[];
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
  _signal?: AbortSignal,
  first = 0,
): Promise<Turn[]> {
  if (!Array.isArray(messages)) throw new InputError("messages: expected a list");
  const turns: Turn[] = [];
  for (const [i, message] of (messages as readonly Message[]).entries()) {
    turns.push(await readTurn(loaded, message, `messages[${first + i}]`));
  }
  return turns;
}

async function readTurn(loaded: Loaded, message: Message, name: string): Promise<Turn> {
  const content = message?.content;
  if (typeof content === "string") return { message, content, pictures: [] };
  if (!Array.isArray(content)) throw new InputError(`${name}.content: expected text, or a list of texts and images`);
  const parts: TemplatePart[] = [];
  const pictures: Picture[] = [];
  for (const [i, part] of (content as readonly ContentPart[]).entries()) {
    if (part?.type === "text" && typeof part.text === "string") parts.push({ type: "text", text: part.text });
    else {
      pictures.push(pictureOf(loaded, imageOf(part, `${name}.content[${i}]`)));
      parts.push({ type: "image" });
    }
  }
  return { message, content: parts, pictures };
}

function imageOf(part: ContentPart, name: string): ImageInput {
  const image = part?.type === "image" ? part.image : part?.type === "image_url" ? part.image_url?.url : undefined;
  const pixels = typeof image === "object" && "width" in image && "height" in image && "data" in image;
  if (typeof image === "string" || image instanceof Uint8Array || pixels) return image as ImageInput;
  throw new InputError(`${name}: expected text, image or image_url, got ${JSON.stringify(part?.type)}`);
}

function pictureOf({ model, imageSize: side, resize: mode, orientation }: Loaded, image: ImageInput): Picture {
  // The bytes of a file stay, so that the picture remains what it was when the conversation saw it.
  let file: Uint8Array<ArrayBuffer> | undefined;
  const load = async (signal: AbortSignal | undefined): Promise<Square> => {
    if (typeof image === "string") {
      file ??= isDataUrl(image) ? dataUrlBytes(image) : await platform().readFile(image, signal);
    }
    signal?.throwIfAborted();
    const source = file ?? (image as Exclude<ImageInput, string>);
    const pixels = source instanceof Uint8Array ? await platform().decodeImage(source, { orientation }) : source;
    signal?.throwIfAborted();
    return preprocess(pixels, planResize(pixels.width, pixels.height, { mode, size: side }));
  };
  return new Picture(load, { side }, model.imageTokens(side, side));
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
