// TensorFlow.js on WebGPU: FastViTHD and projector written with its operations, f32, NHWC as it prefers; and a product.
import { createRequire } from "node:module";
import { decoderConfig } from "../../src/models/decoder/config.ts";
import { FASTVITHD } from "../../src/models/fastvithd/config.ts";
import { CONFIGS } from "../../test/random_shapes.ts";
import { type Job, type Pass, SHAPE } from "./job.mts";
import { Noise } from "./noise.mts";
import { pattern, provideWebGpu } from "./onnx_runtime.mts";

interface Tensor {
  readonly shape: readonly number[];
  data(): Promise<unknown>;
  dispose(): void;
}

/** What a layer with weights is called with. */
interface Fused {
  readonly x: Tensor;
  readonly filter: Tensor;
  readonly strides: number;
  readonly pad: number;
  readonly bias: Tensor;
}

/** The operations used here. */
interface TensorFlow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tidy(body: () => Tensor): Tensor;
  tensor(data: Float32Array, shape: readonly number[]): Tensor;
  scalar(value: number): Tensor;
  add(a: Tensor, b: Tensor): Tensor;
  sub(a: Tensor, b: Tensor): Tensor;
  mul(a: Tensor, b: Tensor): Tensor;
  erf(x: Tensor): Tensor;
  rsqrt(x: Tensor): Tensor;
  relu(x: Tensor): Tensor;
  sigmoid(x: Tensor): Tensor;
  softmax(x: Tensor): Tensor;
  square(x: Tensor): Tensor;
  mean(x: Tensor, axes: readonly number[], keepDims: boolean): Tensor;
  reshape(x: Tensor, shape: readonly number[]): Tensor;
  transpose(x: Tensor, order: readonly number[]): Tensor;
  slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor;
  matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  readonly fused: {
    conv2d(options: Fused): Tensor;
    depthwiseConv2d(options: Fused): Tensor;
    matMul(options: { a: Tensor; b: Tensor; bias: Tensor }): Tensor;
  };
}

const require = createRequire(import.meta.url);

export async function tensorflowPass({ task }: Job): Promise<Pass> {
  provideWebGpu();
  const tf = require("@tensorflow/tfjs-core") as TensorFlow;
  require("@tensorflow/tfjs-backend-webgpu");
  if (!(await tf.setBackend("webgpu"))) throw new Error("TensorFlow.js: no WebGPU");
  await tf.ready();
  if (task.kind === "decoder") throw new Error(`TensorFlow.js: no ${task.kind}`);
  const network = task.kind === "vision" ? fastvithd(tf, task.size) : product(tf, task);
  return async () => {
    const started = performance.now();
    // One number is fetched: it is there when all is done.
    const last = tf.tidy(() => {
      const y = network();
      return tf.slice(
        y,
        y.shape.map((axis) => axis - 1),
        y.shape.map(() => 1),
      );
    });
    await last.data();
    last.dispose();
    return performance.now() - started;
  };
}

function product(
  tf: TensorFlow,
  { rows, inputs, outputs }: { rows: number; inputs: number; outputs: number },
): () => Tensor {
  const x = tf.tensor(pattern(rows * inputs), [rows, inputs]);
  const weight = tf.tensor(new Noise().take(inputs * outputs, 1), [inputs, outputs]);
  return () => tf.matMul(x, weight);
}

function fastvithd(tf: TensorFlow, side: number): () => Tensor {
  const { embedDims, layers, mlpRatio, headDim, outputChannels } = FASTVITHD;
  const noise = new Noise();
  type Layer = (x: Tensor) => Tensor;
  const chain =
    (...parts: Layer[]): Layer =>
    (x) =>
      parts.reduce((h, part) => part(h), x);
  const vector = (size: number, std = 0.02, mean = 0): Tensor => tf.tensor(noise.take(size, std, mean), [size]);
  const [half, one, root] = [tf.scalar(0.5), tf.scalar(1), tf.scalar(Math.SQRT1_2)];
  const gelu: Layer = (x) => tf.mul(tf.mul(x, half), tf.add(tf.erf(tf.mul(x, root)), one));
  const pointwise = (inputs: number, outputs: number, kernel = 1, strides = 1): Layer => {
    const size = kernel ** 2 * inputs * outputs;
    const std = Math.sqrt(2 / (inputs * kernel ** 2));
    const filter = tf.tensor(noise.take(size, std), [kernel, kernel, inputs, outputs]);
    const bias = vector(outputs);
    return (x) => tf.fused.conv2d({ x, filter, strides, pad: (kernel - 1) / 2, bias });
  };
  const depthwise = (C: number, kernel: number, strides = 1): Layer => {
    const filter = tf.tensor(noise.take(kernel ** 2 * C, Math.SQRT2 / kernel), [kernel, kernel, C, 1]);
    const bias = vector(C);
    return (x) => tf.fused.depthwiseConv2d({ x, filter, strides, pad: (kernel - 1) / 2, bias });
  };
  // TensorFlow.js has no grouped convolution: a channel that becomes two is convolved with each of its two filters.
  const widening = (inputs: number, kernel: number, strides: number): Layer => {
    const filter = tf.tensor(noise.take(kernel ** 2 * inputs * 2, Math.SQRT2 / kernel), [kernel, kernel, inputs, 2]);
    const bias = vector(2 * inputs);
    return (x) => tf.fused.depthwiseConv2d({ x, filter, strides, pad: (kernel - 1) / 2, bias });
  };
  const residual = (C: number, branch: Layer): Layer => {
    const gamma = vector(C, 0.01, 0.1);
    return (x) => tf.add(x, tf.mul(branch(x), gamma));
  };
  const ffn = (C: number): Layer =>
    residual(C, chain(depthwise(C, 7), pointwise(C, mlpRatio * C), gelu, pointwise(mlpRatio * C, C)));
  const affine = (inputs: number, outputs: number): Layer => {
    const b = tf.tensor(noise.take(inputs * outputs, 1 / Math.sqrt(inputs)), [inputs, outputs]);
    const bias = vector(outputs);
    return (a) => tf.fused.matMul({ a, b, bias });
  };
  const norm = (C: number): Layer => {
    const [scale, shift, eps] = [vector(C, 0.02, 1), vector(C), tf.scalar(1e-5)];
    return (x) => {
      const centred = tf.sub(x, tf.mean(x, [1], true));
      const variance = tf.mean(tf.square(centred), [1], true);
      return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, eps))), scale), shift);
    };
  };
  const attention = (C: number): Layer => {
    const [normed, q, k, v, out] = [norm(C), affine(C, C), affine(C, C), affine(C, C), affine(C, C)];
    const scale = tf.scalar(headDim ** -0.5);
    return residual(C, (x) => {
      const [, h, w] = x.shape as [number, number, number];
      const rows = normed(tf.reshape(x, [h * w, C]));
      const split = (y: Tensor): Tensor => tf.transpose(tf.reshape(y, [h * w, C / headDim, headDim]), [1, 0, 2]);
      const scores = tf.matMul(tf.mul(split(q(rows)), scale), split(k(rows)), false, true);
      const mixed = tf.matMul(tf.softmax(scores), split(v(rows)));
      return tf.reshape(out(tf.reshape(tf.transpose(mixed, [1, 0, 2]), [h * w, C])), x.shape);
    });
  };
  const [first] = embedDims;
  const stem = chain(pointwise(3, first, 3, 2), gelu, depthwise(first, 3, 2), gelu, pointwise(first, first), gelu);
  const stages = embedDims.map((C, s) => {
    const entry = s > 0 ? [widening(C / 2, 7, 2), gelu, pointwise(C, C), gelu] : [];
    const position = s >= 3 ? [depthwise(C, 7)] : [];
    const block = (): Layer => chain(s >= 3 ? attention(C) : depthwise(C, 3), ffn(C));
    return chain(...entry, ...position, ...Array.from({ length: layers[s]! }, block));
  });
  const squeezed = Math.trunc(outputChannels / 16);
  const [down, up] = [pointwise(outputChannels, squeezed), pointwise(squeezed, outputChannels)];
  const excite: Layer = (x) => tf.mul(x, tf.sigmoid(up(tf.relu(down(tf.mean(x, [1, 2], true))))));
  const { hiddenSize } = decoderConfig(CONFIGS[SHAPE]!.config);
  const flat: Layer = (x) => tf.reshape(x, [-1, outputChannels]);
  const projector = chain(flat, affine(outputChannels, hiddenSize), gelu, affine(hiddenSize, hiddenSize));
  const network = chain(stem, ...stages, widening(embedDims[4], 3, 1), excite, gelu, projector);
  const pixels = tf.tensor(pattern(3 * side ** 2), [1, side, side, 3]);
  return () => network(pixels);
}
