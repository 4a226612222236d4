import { abortableFolder, type Folder } from "../../weights/folder.ts";
import { InputError } from "../errors.ts";
import { platform } from "./platform.ts";
import { shown } from "./shown.ts";
import type { Composition, Source } from "./types.ts";

const isFolder = (source: unknown): source is Folder =>
  typeof source === "object" &&
  source !== null &&
  (["size", "read", "close"] as const).every((method) => typeof (source as Partial<Folder>)[method] === "function");

async function open(source: unknown, name: string, signal: AbortSignal | undefined): Promise<Folder> {
  if (typeof source !== "string" && !isFolder(source)) throw noFolder(source, name);
  const folder = typeof source === "string" ? await platform().openFolder(source) : source;
  return signal ? abortableFolder(folder, signal) : folder;
}

function noFolder(source: unknown, name: string): InputError {
  const whole = name === "checkpoint" ? ", or { vision, projector, language }" : "";
  return new InputError(
    `${name}: expected a path, an address, an object that reads files${whole}, got ${shown(source)}`,
    source instanceof URL ? { hint: "Pass the href of a web address, or the path of a file: URL." } : {},
  );
}

const isComposition = (source: unknown): source is Composition =>
  typeof source === "object" && source !== null && "language" in source;

/**
 * The folders that a source names; parts given by the same name share one folder.
 *
 * @param signal ends whatever is read of them
 * @throws InputError when it names none
 */
export async function openFolders(
  source: Source | Composition,
  signal?: AbortSignal,
): Promise<{ language: Folder; vision?: Folder; projector?: Folder }> {
  if (!isComposition(source)) return { language: await open(source, "checkpoint", signal) };
  const { vision, projector = vision, language } = source;
  const opened = new Map<Source, Folder>();
  for (const [name, part] of Object.entries({ language, vision, projector })) {
    if (part === undefined && name !== "language") continue;
    if (!opened.has(part)) opened.set(part, await open(part, name, signal));
  }
  return { language: opened.get(language)!, vision: opened.get(vision)!, projector: opened.get(projector)! };
}
