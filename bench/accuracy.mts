import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { FastVLM } from "../src/node.ts";
import type { Message } from "../src/pipeline/types.ts";

/** One question of the held-out set, the right answer, and what PyTorch answers with the same checkpoint (f32, greedy). */
export interface Turn {
  readonly task: string;
  readonly question: string;
  readonly answer: string;
  readonly pytorch: string;
}

/** Pictures (one, several, the frames of a clip, or none) and conversations about them, each independent of the others. */
export interface Case {
  readonly images: readonly string[];
  readonly conversations: readonly (readonly Turn[])[];
}

/** A question with this engine's answer to it. */
export interface Answered extends Turn {
  readonly images: readonly string[];
  readonly engine: string;
}

export interface Score {
  readonly task: string;
  readonly questions: number;
  /** Answers that are the right one, word for word. */
  readonly right: number;
  /** Answers that are PyTorch's, word for word. */
  readonly asPyTorch: number;
}

/** The cases of `folder/eval.json`, which `train/holdout.py` drew and `train/evaluate.py` answered. */
export async function readCases(folder: string): Promise<Case[]> {
  return JSON.parse(await readFile(join(folder, "eval.json"), "utf8"));
}

/** Holds every conversation of a case, greedy; a follow-up question sees the engine's own earlier answers. */
export async function answerCase(vlm: FastVLM, folder: string, { images, conversations }: Case): Promise<Answered[]> {
  const pictures = images.map((name) => ({ type: "image" as const, image: join(folder, name) }));
  const answered: Answered[] = [];
  for (const turns of conversations) {
    const messages: Message[] = [];
    for (const turn of turns) {
      const text = { type: "text" as const, text: turn.question };
      messages.push({ role: "user", content: messages.length === 0 ? [...pictures, text] : [text] });
      let engine = "";
      for await (const piece of vlm.chat(messages, { maxTokens: 64 })) engine += piece.text;
      messages.push({ role: "assistant", content: engine });
      answered.push({ ...turn, images, engine });
    }
  }
  return answered;
}

/** Scores per task, and over all of them as task `all`. */
export function scores(answered: readonly Answered[]): Score[] {
  const tasks = [...new Set(answered.map(({ task }) => task))].sort();
  return [...tasks, "all"].map((task) => {
    const of = answered.filter((turn) => task === "all" || turn.task === task);
    return {
      task,
      questions: of.length,
      right: of.filter(({ engine, answer }) => engine === answer).length,
      asPyTorch: of.filter(({ engine, pytorch }) => engine === pytorch).length,
    };
  });
}
