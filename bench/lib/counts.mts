// How much work a stage is, counted from the configurations alone: what no implementation can do without.
import type { ConnectorConfig } from "../../src/models/connector_config.ts";
import type { DecoderConfig } from "../../src/models/decoder/config.ts";
import type { FastViTHDConfig } from "../../src/models/fastvithd/config.ts";
import { gridOf, type SiglipConfig } from "../baseline/siglip.mts";

/** One pass. */
export interface Work {
  /** Floating-point operations; a multiply-add is two. */
  readonly flops: number;
  /** Bytes that cross the memory bus at least once: weights, input, output, keys and values. Activations inside need not. */
  readonly bytes: number;
}

/** A layer of an encoder at one image size. */
export interface Layer {
  readonly name: string;
  readonly kind: "pointwise" | "depthwise" | "dense" | "attention";
  /** Multiply-adds of one image. */
  readonly macs: number;
  readonly parameters: number;
}

export const sumOf = <Row,>(rows: readonly Row[], value: (row: Row) => number): number =>
  rows.reduce((sum, row) => sum + value(row), 0);

export const add = (...works: readonly Work[]): Work => ({
  flops: sumOf(works, ({ flops }) => flops),
  bytes: sumOf(works, ({ bytes }) => bytes),
});

/** FastViTHD's layers, reparameterised, for a square of `side` pixels. */
export function fastvithdLayers(config: FastViTHDConfig, side: number): Layer[] {
  const { embedDims, layers, mlpRatio, outputChannels } = config;
  const result: Layer[] = [];
  let n = Math.ceil(side / 2);
  const conv = (name: string, kind: Layer["kind"], outputs: number, fan: number, kernel: number, extra = 0): void => {
    const weights = outputs * fan * kernel ** 2;
    result.push({ name, kind, macs: n ** 2 * weights, parameters: weights + outputs + extra });
  };
  const [first] = embedDims;
  conv("stem", "dense", first, 3, 3);
  n = Math.ceil(n / 2);
  conv("stem", "depthwise", first, 1, 3);
  conv("stem", "pointwise", first, first, 1);
  for (const [s, C] of embedDims.entries()) {
    const stage = `stage ${s}`;
    if (s > 0) {
      n = Math.ceil(n / 2);
      conv(stage, "depthwise", C, 1, 7);
      conv(stage, "pointwise", C, C, 1);
    }
    if (s >= 3) conv(stage, "depthwise", C, 1, 7);
    for (let i = 0; i < layers[s]!; i++) {
      if (s < 3) conv(stage, "depthwise", C, 1, 3);
      else {
        result.push({ name: stage, kind: "pointwise", macs: n ** 2 * 4 * C ** 2, parameters: 4 * C ** 2 + 4 * C });
        result.push({ name: stage, kind: "attention", macs: 2 * n ** 4 * C, parameters: 0 });
      }
      conv(stage, "depthwise", C, 1, 7, C); // its batch norm folds in; layer scale γ
      conv(stage, "pointwise", mlpRatio * C, C, 1);
      conv(stage, "pointwise", C, mlpRatio * C, 1);
    }
  }
  conv("final", "depthwise", outputChannels, 1, 3);
  const squeezed = Math.trunc(outputChannels / 16);
  const excite = 2 * squeezed * outputChannels;
  result.push({ name: "final", kind: "pointwise", macs: excite, parameters: excite + squeezed + outputChannels });
  return result;
}

/** The layers of SigLIP for one tile. */
export function siglipLayers(config: SiglipConfig): Layer[] {
  const { patch, width, layers, mlpWidth } = config;
  const tokens = gridOf(config) ** 2;
  const embedding = 3 * patch ** 2 * width;
  const projections = 4 * width ** 2 + 2 * width * mlpWidth;
  const biases = 4 * width + mlpWidth + width + 4 * width; // attention, MLP, two layer norms
  return [
    { name: "patches", kind: "dense", macs: tokens * embedding, parameters: embedding + width + tokens * width },
    ...Array.from({ length: layers }, (_, i): Layer[] => [
      { name: `layer ${i}`, kind: "pointwise", macs: tokens * projections, parameters: projections + biases },
      { name: `layer ${i}`, kind: "attention", macs: 2 * tokens ** 2 * width, parameters: 0 },
    ]).flat(),
  ];
}

/** An encoder's pass over `images` pictures of `pixels` pixels to `features` numbers each, `element` bytes a number. */
export function encoderWork(
  layers: readonly Layer[],
  { images = 1, pixels, features, element }: { images?: number; pixels: number; features: number; element: number },
): Work {
  return {
    flops: 2 * images * sumOf(layers, ({ macs }) => macs),
    bytes: element * (sumOf(layers, ({ parameters }) => parameters) + images * (3 * pixels + features)),
  };
}

/** The connector over a map of `features` vectors that become `tokens`; `element` bytes per number of weights and features. */
export function connectorWork(
  { inputs: C, outputs: D, depth, enhancer }: ConnectorConfig,
  { features, tokens, element }: { features: number; tokens: number; element: number },
): Work {
  const weights = (depth > 0 ? C * D + (depth - 1) * D ** 2 : 0) + (enhancer ? C ** 2 : 0);
  return { flops: 2 * tokens * weights, bytes: element * (weights + features * C) + 4 * tokens * D };
}

/** How numbers of the language model are stored, in bytes. */
export interface Storage {
  /** A weight of a linear layer, scales included. */
  readonly weight: number;
  /** An element of the embedding, and of the head. */
  readonly table: number;
  /** A key or value. */
  readonly cache: number;
}

export const decoderParameters = (config: DecoderConfig): { layers: number; head: number } => {
  const { hiddenSize: D, intermediateSize: I, heads, kvHeads, headDim, layers, vocabSize } = config;
  return { layers: layers * (D * (2 * heads + 2 * kvHeads) * headDim + 3 * D * I), head: vocabSize * D };
};

/**
 * The language model over `tokens` new tokens after `past` known ones, and the logits of the last. Of the last layer, nobody needs
 * more than keys and values of all tokens, and what becomes of the last.
 */
export function decoderWork(
  config: DecoderConfig,
  { tokens, past = 0 }: { tokens: number; past?: number },
  { weight, table, cache }: Storage,
): Work {
  const { hiddenSize: D, heads, kvHeads, headDim, layers } = config;
  const parameters = decoderParameters(config);
  const packed = D * (heads + 2 * kvHeads) * headDim; // parameters of a layer that make queries, keys and values
  const rest = parameters.layers / layers - packed;
  const products = tokens * (parameters.layers - rest) + rest;
  const seen = tokens * past + (tokens * (tokens + 1)) / 2; // pairs of query and key
  const pairs = (layers - 1) * seen + past + tokens;
  const keyBytes = 2 * layers * kvHeads * headDim * cache;
  return {
    flops: 2 * products + 4 * heads * headDim * pairs + 2 * parameters.head,
    bytes: parameters.layers * weight + parameters.head * table + tokens * D * table + keyBytes * (past + tokens),
  };
}
