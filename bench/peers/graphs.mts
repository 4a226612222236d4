// FastVLM's two halves as ONNX graphs with random weights, as an exporter would write them for ONNX Runtime.
import type { DecoderConfig } from "../../src/models/decoder/config.ts";
import type { FastViTHDConfig } from "../../src/models/fastvithd/config.ts";
import { randomFrom } from "../../test/mutate.ts";
import { Noise } from "./noise.mts";
import { OnnxGraph, TYPES } from "./onnx.mts";

const MICROSOFT = { domain: "com.microsoft" };
/** Weights per scale of an int4 matrix. */
const BLOCK = 32;

/**
 * FastViTHD and a projector of two layers for one picture of `side` × `side` pixels: `pixel_values` [1, 3, S, S] →
 * `image_features` [1, N, width], all f32, NCHW inside.
 */
export function fastvithdGraph(config: FastViTHDConfig, side: number, width: number): Uint8Array<ArrayBuffer> {
  const graph = new OnnxGraph();
  const noise = new Noise();
  const { embedDims, layers, mlpRatio, headDim, outputChannels } = config;
  const vector = (size: number, std = 0.02, mean = 0): string =>
    graph.weight("f32", [size], noise.take(size, std, mean));
  const gamma = (channels: number, shape: readonly number[]): string =>
    graph.weight("f32", shape, noise.take(channels, 0.01, 0.1));
  const conv = (x: string, outputs: number, inputs: number, kernel: number, stride: number, group: number): string => {
    const fan = inputs / group;
    const std = Math.sqrt(2 / (fan * kernel ** 2));
    const shape = [outputs, fan, kernel, kernel];
    const weight = graph.weight("f32", shape, noise.take(outputs * fan * kernel ** 2, std));
    const pad = (kernel - 1) / 2;
    return graph.node("Conv", [x, weight, vector(outputs)], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      group,
    });
  };
  const gelu = (x: string): string => graph.node("Gelu", [x], {}, MICROSOFT);
  const add = (a: string, b: string): string => graph.node("Add", [a, b]);
  const scaled = (x: string, g: string): string => graph.node("Mul", [x, g]);
  const depthwise = (x: string, C: number, kernel: number): string => conv(x, C, C, kernel, 1, C);
  const ffn = (x: string, C: number): string => {
    const hidden = gelu(conv(depthwise(x, C, 7), mlpRatio * C, C, 1, 1, 1));
    return add(x, scaled(conv(hidden, C, mlpRatio * C, 1, 1, 1), gamma(C, [C, 1, 1])));
  };
  const matrix = (inputs: number, outputs: number): string =>
    graph.weight("f32", [inputs, outputs], noise.take(inputs * outputs, 1 / Math.sqrt(inputs)));
  const attention = (x: string, C: number, n: number): string => {
    const N = n ** 2;
    const heads = C / headDim;
    const rows = graph.node("Transpose", [graph.node("Reshape", [x, graph.ints(1, C, N)])], { perm: [0, 2, 1] });
    const normed = graph.node("LayerNormalization", [rows, vector(C, 0.02, 1), vector(C)], {
      axis: 2,
      epsilon: { real: 1e-5 },
    });
    const part = (): string => {
      const projected = graph.node("MatMul", [normed, matrix(C, C)]);
      return graph.node("Transpose", [graph.node("Reshape", [projected, graph.ints(1, N, heads, headDim)])], {
        perm: [0, 2, 1, 3],
      });
    };
    const [q, k, v] = [part(), part(), part()];
    const scale = graph.weight("f32", [], Float32Array.of(headDim ** -0.5));
    const scores = graph.node("MatMul", [scaled(q, scale), graph.node("Transpose", [k], { perm: [0, 1, 3, 2] })]);
    const mixed = graph.node("MatMul", [graph.node("Softmax", [scores], { axis: 3 }), v]);
    const joined = graph.node("Reshape", [
      graph.node("Transpose", [mixed], { perm: [0, 2, 1, 3] }),
      graph.ints(1, N, C),
    ]);
    const out = add(graph.node("MatMul", [joined, matrix(C, C)]), vector(C));
    const map = graph.node("Reshape", [graph.node("Transpose", [out], { perm: [0, 2, 1] }), graph.ints(1, C, n, n)]);
    return add(x, scaled(map, gamma(C, [C, 1, 1])));
  };
  const [first] = embedDims;
  let x = graph.input("pixel_values", "f32", [1, 3, side, side]);
  x = gelu(conv(x, first, 3, 3, 2, 1));
  x = gelu(conv(x, first, first, 3, 2, first));
  x = gelu(conv(x, first, first, 1, 1, 1));
  let n = side / 4;
  for (const [s, C] of embedDims.entries()) {
    if (s > 0) {
      n /= 2;
      x = gelu(conv(x, C, C / 2, 7, 2, C / 2));
      x = gelu(conv(x, C, C, 1, 1, 1));
    }
    if (s >= 3) x = depthwise(x, C, 7);
    for (let i = 0; i < layers[s]!; i++) x = ffn(s >= 3 ? attention(x, C, n) : depthwise(x, C, 3), C);
  }
  x = conv(x, outputChannels, embedDims[4], 3, 1, embedDims[4]);
  const squeezed = Math.trunc(outputChannels / 16);
  const mean = graph.node("GlobalAveragePool", [x]);
  const gate = conv(
    graph.node("Relu", [conv(mean, squeezed, outputChannels, 1, 1, 1)]),
    outputChannels,
    squeezed,
    1,
    1,
    1,
  );
  x = gelu(scaled(x, graph.node("Sigmoid", [gate])));
  const features = graph.node("Reshape", [x, graph.ints(1, outputChannels, n ** 2)]);
  const affine = (h: string, inputs: number): string =>
    add(graph.node("MatMul", [h, matrix(inputs, width)]), vector(width));
  const hidden = gelu(affine(graph.node("Transpose", [features], { perm: [0, 2, 1] }), outputChannels));
  graph.output(affine(hidden, width), "f32", [1, n ** 2, width], "image_features");
  return graph.encode();
}

/** `x` [rows, inputs] · a constant [inputs, outputs], f32. One row is handed out, so that fetching it takes no time. */
export function productGraph(shape: { rows: number; inputs: number; outputs: number }): Uint8Array<ArrayBuffer> {
  const { rows, inputs, outputs } = shape;
  const graph = new OnnxGraph();
  const weight = graph.weight("f32", [inputs, outputs], new Noise().take(inputs * outputs, 1));
  const y = graph.node("MatMul", [graph.input("x", "f32", [rows, inputs]), weight]);
  graph.output(graph.node("Gather", [y, graph.ints(rows - 1)]), "f32", [1, outputs]);
  return graph.encode();
}

/** Hands out a number. */
export function identityGraph(name: string): Uint8Array<ArrayBuffer> {
  const graph = new OnnxGraph();
  graph.output(graph.node("Identity", [graph.input(name, "f32", [1])]), "f32", [1]);
  return graph.encode();
}

/** The faster `accuracy_level`: software adapters have no instruction for products of four 8-bit numbers. */
export const fasterLevel = (provider: "webgpu" | "cpu", software: boolean): number =>
  provider === "webgpu" && software ? 1 : 4;

/** What transformers.js names the axes of its inputs. */
const GROWING = { past: "past_sequence_length", tokens: "sequence_length", all: "total_sequence_length" };
const MOST = 4096;

/**
 * A Qwen2 decoder in int4 blocks of 32, as `MatMulNBits` has it: `inputs_embeds` [1, T, D] after `past` tokens → the last row's
 * logits. Keys and values of the past are constants, so that a step copies none; or, for a prompt that `grows`, inputs and
 * outputs as transformers.js hands them around, for up to 4,096 tokens.
 *
 * @param accuracy `accuracy_level`: 4 multiplies whole numbers of 8 bits, 1 f32
 */
export function decoderGraph(
  config: DecoderConfig,
  form: { readonly tokens: number; readonly past: number } | "grows",
  accuracy: number,
): Uint8Array<ArrayBuffer> {
  const graph = new OnnxGraph();
  const noise = new Noise();
  const { hiddenSize: D, intermediateSize: I, heads, kvHeads, headDim, layers, vocabSize, normEps } = config;
  const random = randomFrom(3);
  const nibbles = Uint8Array.from({ length: 65_537 }, () => random() * 256);
  const matrix = (x: string, inputs: number, outputs: number): string => {
    const packed = new Uint8Array((inputs * outputs) / 2);
    for (let at = 0; at < packed.length; at += nibbles.length) packed.set(nibbles.subarray(0, packed.length - at), at);
    const blocks = inputs / BLOCK;
    // Uniform in −8 … 7 deviates by 4.6.
    const scale = 1 / (4.6 * Math.sqrt(inputs));
    const weight = graph.weight("u8", [outputs, blocks, BLOCK / 2], packed);
    const scales = graph.weight("f32", [outputs * blocks], new Float32Array(outputs * blocks).fill(scale));
    const attributes = { K: inputs, N: outputs, bits: 4, block_size: BLOCK, accuracy_level: accuracy };
    return graph.node("MatMulNBits", [x, weight, scales], attributes, MICROSOFT);
  };
  const norm = (x: string): string =>
    graph.node("SimplifiedLayerNormalization", [x, graph.weight("f32", [D], noise.take(D, 0.02, 1))], {
      axis: 2,
      epsilon: { real: normEps },
    });
  const { past, tokens, all } = form === "grows" ? GROWING : { ...form, all: form.past + form.tokens };
  const context = form === "grows" ? MOST : form.past + form.tokens;
  const angles = new Float32Array((context * headDim) / 2).map((_, i) => {
    const pair = i % (headDim / 2);
    return Math.floor(i / (headDim / 2)) / config.ropeTheta ** ((2 * pair) / headDim);
  });
  const table = (of: (angle: number) => number): string => graph.weight("f32", [context, headDim / 2], angles.map(of));
  const [cosines, sines] = [table(Math.cos), table(Math.sin)];
  let x = graph.input("inputs_embeds", "f32", [1, tokens, D]);
  let [known, total] = ["", ""];
  if (form === "grows") {
    const mask = graph.input("attention_mask", "i64", [1, all]);
    const toI32 = (y: string): string => graph.node("Cast", [y], { to: TYPES.i32 });
    total = toI32(graph.node("ReduceSum", [mask], { keepdims: 0 }));
    const last = graph.node("Sub", [graph.node("ReduceSum", [mask, graph.ints(1)], { keepdims: 0 }), graph.ints(1)]);
    known = toI32(last);
  } else {
    known = graph.weight("i32", [1], Int32Array.of(context - 1));
    total = graph.weight("i32", [1], Int32Array.of(context));
  }
  for (let i = 0; i < layers; i++) {
    const normed = norm(x);
    const part = (width: number): string => {
      const projected = matrix(normed, D, width);
      return config.attentionBias
        ? graph.node("Add", [projected, graph.weight("f32", [width], noise.take(width, 0.02))])
        : projected;
    };
    const [q, k, v] = [part(heads * headDim), part(kvHeads * headDim), part(kvHeads * headDim)];
    const cache = (of: "key" | "value"): string =>
      form === "grows"
        ? graph.input(`past_key_values.${i}.${of}`, "f32", [1, kvHeads, past, headDim])
        : graph.weight("f32", [1, kvHeads, form.past, headDim], noise.take(kvHeads * form.past * headDim, 1));
    const [mixed, keys, values] = graph.nodes(
      "GroupQueryAttention",
      [q, k, v, cache("key"), cache("value"), known, total, cosines, sines],
      { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1 },
      { ...MICROSOFT, outputs: 3 },
    ) as [string, string, string];
    if (form === "grows") {
      graph.output(keys, "f32", [1, kvHeads, all, headDim], `present.${i}.key`);
      graph.output(values, "f32", [1, kvHeads, all, headDim], `present.${i}.value`);
    }
    const h = graph.node("Add", [x, matrix(mixed, heads * headDim, D)]);
    const normed2 = norm(h);
    const gate = matrix(normed2, D, I);
    const silu = graph.node("Mul", [gate, graph.node("Sigmoid", [gate])]);
    x = graph.node("Add", [h, matrix(graph.node("Mul", [silu, matrix(normed2, D, I)]), I, D)]);
  }
  const last = graph.node("Gather", [norm(x), graph.ints(-1)], { axis: 1 });
  graph.output(matrix(last, D, vocabSize), "f32", [1, 1, vocabSize], "logits");
  return graph.encode();
}
