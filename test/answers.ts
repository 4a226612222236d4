import { fileURLToPath } from "node:url";
import type { FastVLM, Piece, Result } from "../src/node.ts";
import { GOLDEN } from "./golden.ts";

export const golden = (file: string): string => fileURLToPath(new URL(file, GOLDEN));

/** Reads an answer to its end and returns its result. */
export async function resultOf(pieces: AsyncIterable<Piece>): Promise<Result> {
  let result: Result | undefined;
  for await (const piece of pieces) result = piece.result ?? result;
  if (!result) throw new Error("an answer ended without its result");
  return result;
}

/** A grey picture, other for every shade. */
export const grey = (shade: number): { width: number; height: number; data: Uint8Array<ArrayBuffer> } => ({
  width: 8,
  height: 6,
  data: new Uint8Array(8 * 6 * 3).fill(shade),
});

/** Names of the stages that run while `body` does, with the shapes of their results. */
export async function stagesDuring(
  { gpu }: FastVLM,
  body: () => Promise<unknown>,
): Promise<{ name: string; rows: number }[]> {
  const stages: { name: string; rows: number }[] = [];
  gpu.recorder = (name, { shape }) => stages.push({ name, rows: shape[0]! });
  try {
    await body();
  } finally {
    gpu.recorder = null;
  }
  return stages;
}
