import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { extname, join } from "node:path";
import { shownAddress } from "../../weights/address.ts";
import { InputError } from "../errors.ts";
import { dataUrlBytes, isDataUrl } from "../pipeline/data_url.ts";
import { decodeFile } from "../pipeline/image_file.ts";
import type { ContentPart, Message } from "../pipeline/types.ts";
import { writeWhole } from "./files.ts";

export const COMMAND_USAGE = `  /image FILE   shows a picture with the next question
  /video FILE   shows a video, or a folder of frames, with the next question
  /forget       shows nothing of that
  /reset        begins anew
  /save FILE    writes the conversation as text, or as JSON where the name ends in .json
  /help         this list
  /exit         leaves, as Ctrl-D does`;

const NAMES = ["image", "video", "forget", "reset", "save", "help", "exit"] as const;
const NEEDS_ARGUMENT: readonly string[] = ["image", "video", "save"];

/**
 * Reads a line that begins with a slash and a word; undefined for any other, which is a question.
 *
 * @throws InputError for an unknown command, or one that lacks its file
 */
export function readCommand(line: string): { name: (typeof NAMES)[number]; argument: string } | undefined {
  const [, word, rest = ""] = /^\/([a-z]+)(?:\s+(.*))?$/s.exec(line) ?? [];
  if (word === undefined) return undefined;
  const name = NAMES.find((known) => known === word) ?? (word === "quit" ? "exit" : undefined);
  if (!name) throw new InputError(`/${word}: no such command`, { hint: "/help lists them." });
  const argument = cleanPath(rest);
  if (argument === "" && NEEDS_ARGUMENT.includes(name)) throw new InputError(`/${name}: expected a file`);
  return { name, argument };
}

/** A path as terminals paste it when a file is dropped on them: quoted, or with escaped spaces. */
function cleanPath(text: string): string {
  const path = text.trim();
  const [, quoted] = /^(?:"(.*)"|'(.*)')$/.exec(path)?.filter((part) => part !== undefined) ?? [];
  if (quoted !== undefined) return quoted;
  if (path.startsWith("~/")) return join(homedir(), path.slice(2));
  return process.platform === "win32" ? path : path.replace(/\\(.)/g, "$1");
}

const isAddress = (source: string): boolean => /^(https?|data):/i.test(source);

/** A path or an address as errors show it. */
export const nameOf = (source: string): string => (isAddress(source) ? shownAddress(source) : source);

/** Paths and addresses. */
export interface Attached {
  readonly images: readonly string[];
  readonly videos: readonly string[];
}

/** What the next question is asked about. */
export class Attachments {
  #images: string[] = [];
  #videos: string[] = [];

  /** @throws InputError, ImageError when it cannot be shown, so that a question need not fail for it */
  async image(path: string): Promise<void> {
    const isRemote = isAddress(path) && !isDataUrl(path);
    const bytes = isDataUrl(path)
      ? dataUrlBytes(path)
      : isRemote
        ? undefined
        : await readable(path, () => readFile(path));
    if (bytes) await decodeFile(new Uint8Array(bytes), path, { orientation: true });
    this.#images.push(path);
  }

  /** @throws InputError when there is no such file */
  async video(path: string): Promise<void> {
    if (!isAddress(path)) await readable(path, () => stat(path));
    this.#videos.push(path);
  }

  /** Everything attached; nothing is afterwards. */
  take(): Attached {
    const taken = { images: this.#images, videos: this.#videos };
    this.#images = [];
    this.#videos = [];
    return taken;
  }

  /** Attaches what was taken again, but for the file that cannot be shown. */
  putBack({ images, videos }: Attached, without?: string): void {
    this.#images.push(...images.filter((path) => path !== without));
    this.#videos.push(...videos.filter((path) => path !== without));
  }
}

/**
 * The file for which a question failed; undefined where that was not it, or cannot be told.
 *
 * @param videosRead how many of the videos were read, which comes before all else
 */
export function culprit({ message }: Error, { images, videos }: Attached, videosRead: number): string | undefined {
  if (videosRead < videos.length) return videos[videosRead];
  // Errors begin with the picture's name, which addresses share that differ in what is not shown.
  const named = images.filter((image) => message.startsWith(`${nameOf(image)}: `));
  return new Set(named).size === 1 ? named[0] : undefined;
}

async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new InputError(`${path}: ${code === "ENOENT" ? "no such file" : `cannot be read (${code})`}`, { cause });
  }
}

/** Writes a conversation; returns the file's name. */
export async function save(path: string, messages: readonly Message[]): Promise<string> {
  const json = extname(path).toLowerCase() === ".json";
  await writeWhole(path, json ? `${JSON.stringify(messages, undefined, 2)}\n` : messages.map(asText).join("\n"));
  return path;
}

function asText({ role, content }: Message): string {
  const parts: readonly ContentPart[] = typeof content === "string" ? [{ type: "text", text: content }] : content;
  const lines = parts.map((part) => {
    if (part.type === "text") return part.text;
    const source = part.type === "image" ? part.image : part.type === "video" ? part.video : undefined;
    return `[${part.type}: ${typeof source === "string" ? source : "…"}]`;
  });
  return `${role}: ${lines.join("\n")}\n`;
}
