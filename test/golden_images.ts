import { readFileSync } from "node:fs";
import type { Pixels } from "../src/image/pixels.ts";
import { GOLDEN, readTensors } from "./golden.ts";

interface GoldenCase {
  readonly name: string;
  readonly op: string;
  readonly [key: string]: unknown;
}

const { preprocess } = JSON.parse(readFileSync(new URL("manifest.json", GOLDEN), "utf8")) as {
  preprocess: {
    cases: GoldenCase[];
    shortest_edge: { w: number; h: number; size: number; out_wh: [number, number] }[];
  };
};

/** Sizes before and after transformers' resize of the shortest edge. */
export const shortestEdges = preprocess.shortest_edge;

/** The golden picture cases of one kind. */
export const casesOf = (op: string): GoldenCase[] => preprocess.cases.filter((entry) => entry.op === op);

export const tensors = readTensors("preprocess.safetensors");

/** A golden picture [H, W, 3]. */
export function pixelsOf(name: unknown): Pixels {
  const { shape, data } = tensors[String(name)]!;
  return { height: shape[0]!, width: shape[1]!, data: Uint8Array.from(data as Uint8Array) };
}
