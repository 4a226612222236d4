import type { Folder } from "../../weights/folder.ts";
import { platform } from "./platform.ts";
import type { Composition, Source } from "./types.ts";

const open = async (source: Source): Promise<Folder> =>
  typeof source === "string" ? platform().openFolder(source) : source;

const isComposition = (source: Source | Composition): source is Composition =>
  typeof source === "object" && "language" in source;

/** The folders that a source names; parts given by the same name share one folder. */
export async function openFolders(
  source: Source | Composition,
): Promise<{ language: Folder; vision?: Folder; projector?: Folder }> {
  if (!isComposition(source)) return { language: await open(source) };
  const { vision, projector = vision, language } = source;
  const opened = new Map<Source, Folder>();
  for (const part of [language, vision, projector]) if (!opened.has(part)) opened.set(part, await open(part));
  return { language: opened.get(language)!, vision: opened.get(vision)!, projector: opened.get(projector)! };
}
