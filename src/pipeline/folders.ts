import { abortableFolder, type Folder } from "../../weights/folder.ts";
import { platform } from "./platform.ts";
import type { Composition, Source } from "./types.ts";

async function open(source: Source, signal: AbortSignal | undefined): Promise<Folder> {
  const folder = typeof source === "string" ? await platform().openFolder(source) : source;
  return signal ? abortableFolder(folder, signal) : folder;
}

const isComposition = (source: Source | Composition): source is Composition =>
  typeof source === "object" && "language" in source;

/**
 * The folders that a source names; parts given by the same name share one folder.
 *
 * @param signal ends whatever is read of them
 */
export async function openFolders(
  source: Source | Composition,
  signal?: AbortSignal,
): Promise<{ language: Folder; vision?: Folder; projector?: Folder }> {
  if (!isComposition(source)) return { language: await open(source, signal) };
  const { vision, projector = vision, language } = source;
  const opened = new Map<Source, Folder>();
  for (const part of [language, vision, projector]) if (!opened.has(part)) opened.set(part, await open(part, signal));
  return { language: opened.get(language)!, vision: opened.get(vision)!, projector: opened.get(projector)! };
}
