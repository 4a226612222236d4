// Runs the kernels on PyTorch's inputs and compares with its outputs (test/golden/kernels.safetensors).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { adaptiveAvgPool2d } from "../kernels/adaptive_avg_pool2d.ts";
import { argmax } from "../kernels/argmax.ts";
import { selfAttention } from "../kernels/attention.ts";
import { causalAttention } from "../kernels/causal_attention.ts";
import { channelMean } from "../kernels/channel_mean.ts";
import { channelScale } from "../kernels/channel_scale.ts";
import { depthwiseConv2d } from "../kernels/depthwise_conv2d.ts";
import { embed } from "../kernels/embed.ts";
import { im2col } from "../kernels/im2col.ts";
import { layerNorm } from "../kernels/layer_norm.ts";
import { linear } from "../kernels/linear.ts";
import { resizeBicubic } from "../kernels/resize.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { ropeAndCache } from "../kernels/rope_kv.ts";
import { ropeTable } from "../kernels/rope_table.ts";
import { swiglu } from "../kernels/swiglu.ts";
import { toHalfArray } from "../src/tensor/half.ts";
import { QuantizedTensor } from "../src/tensor/quantized.ts";
import type { Shape } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { denseLayout, depthwiseLayout, windowLength } from "../weights/layout.ts";
import { interleave } from "../weights/quant.ts";
import { bytesOf, fromChannelsLast, type Golden, goldens, permute } from "./goldens.ts";
import { gpu } from "./gpu.ts";

/** Operations that no kernel computes by itself. */
const EXCLUDED: Readonly<Record<string, string>> = {
  batchnorm2d: "folded into the convolution in front of it when weights are loaded; see fold.test.ts",
  conv_bn_fold: "happens when weights are loaded; see fold.test.ts",
  repmixer_fold: "happens when weights are loaded; see fold.test.ts",
  mobileone_fold: "happens when weights are loaded; see fold.test.ts",
  large_kernel_fold: "happens when weights are loaded; see fold.test.ts",
  repcpe_fold: "happens when weights are loaded; see fold.test.ts",
};

/** Single cases of operations that are covered. */
const EXCLUDED_CASES: Readonly<Record<string, string>> = {
  gelu_tanh: "no layer uses the tanh approximation",
  gqa_window: "no supported model has an active sliding window",
};

type Precision = "f32" | "f16";

/** One golden on the GPU: uploads its inputs in the precision under test. */
class Bench {
  readonly golden: Golden;
  readonly dtype: Precision;

  constructor(golden: Golden, dtype: Precision) {
    this.golden = golden;
    this.dtype = dtype;
  }

  has = (name: string): boolean => name in this.golden.inputs;
  shape = (name: string): Shape => this.golden.inputs[name]!.shape;
  data = (name: string): Float32Array<ArrayBuffer> => this.golden.input(name);

  upload(shape: Shape, data: Float32Array<ArrayBuffer>): Tensor {
    return gpu.upload(shape, this.dtype, this.dtype === "f16" ? toHalfArray(data) : data);
  }

  /** The input of that name, under another shape if one is given. */
  tensor(name: string, shape: Shape = this.shape(name)): Tensor {
    return this.upload(shape, this.data(name));
  }

  optional(name: string): Tensor | undefined {
    return this.has(name) ? this.tensor(name) : undefined;
  }

  /** An NCHW input as NHWC. */
  map(name: string): Tensor {
    const { shape, data } = permute(this.shape(name), this.data(name), [0, 2, 3, 1]);
    return this.upload(shape, data);
  }

  identity(size: number): Tensor {
    const data = Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
    return this.upload([size, size], data);
  }
}

/** Computes the outputs of a case; maps may come as NHWC. */
type Runner = (bench: Bench) => Readonly<Record<string, Tensor>>;

const RUNNERS: Readonly<Record<string, Runner>> = {
  conv2d(bench) {
    const { kernel, stride, groups, gelu } = bench.golden.params as ConvParams;
    const [O = 0, I = 0] = bench.shape("w");
    const options = { bias: bench.optional("b"), ...(gelu && { activation: "gelu" as const }) };
    const x = bench.map("x");
    if (kernel === 1) return { y: linear(x, bench.tensor("w", [O, I]), options) };
    if (groups === 1) {
      const length = windowLength(I, kernel);
      const weight = bench.upload([O, length], denseLayout(bench.data("w"), O, I, kernel));
      return { y: linear(im2col(x, { kernel, stride, length }), weight, options) };
    }
    const weight = bench.upload([kernel, kernel, O], depthwiseLayout(bench.data("w"), O, kernel));
    return { y: depthwiseConv2d(x, weight, { ...options, stride }) };
  },
  se(bench) {
    const x = bench.map("x");
    const [w1, b1, w2, b2] = ["w1", "b1", "w2", "b2"].map((name) => bench.tensor(name));
    const squeezed = linear(channelMean(x), w1!, { bias: b1, activation: "relu" });
    const gate = linear(squeezed, w2!, { bias: b2, activation: "sigmoid" });
    return { gate, y: channelScale(x, gate) };
  },
  layer_scale(bench) {
    const f = bench.map("f");
    const scale = bench.tensor("gamma");
    return { y: linear(f, bench.identity(scale.size), { scale, residual: bench.map("x") }) };
  },
  mhsa2d(bench) {
    const { head_dim } = bench.golden.params as { head_dim: number };
    const x = bench.map("x");
    const { B, H, W, C } = x.dims("B H W C");
    const qkv = linear(x.reshape([B, H * W, C]), bench.tensor("qkv_w"));
    const mixed = selfAttention(qkv, C / head_dim);
    const y = linear(mixed, bench.tensor("proj_w"), { bias: bench.tensor("proj_b") });
    return { attn_out: mixed, y: y.reshape([B, H, W, C]) };
  },
  layernorm_channel(bench) {
    return { y: layerNorm(bench.map("x"), bench.tensor("w"), bench.tensor("b"), epsOf(bench)) };
  },
  rmsnorm: (bench) => ({ y: rmsNorm(bench.tensor("x"), bench.tensor("w"), epsOf(bench)) }),
  gelu(bench) {
    const x = bench.tensor("x", [bench.data("x").length, 1]);
    return { y: linear(x, bench.identity(1), { activation: "gelu" }) };
  },
  sigmoid(bench) {
    const x = bench.tensor("x", [bench.data("x").length, 1]);
    return { y: linear(x, bench.identity(1), { activation: "sigmoid" }) };
  },
  silu(bench) {
    const gates = bench.data("x");
    const gateUp = new Float32Array(2 * gates.length).fill(1);
    gateUp.set(gates);
    return { y: swiglu(bench.upload([1, gateUp.length], gateUp)) };
  },
  swiglu(bench) {
    const gateUp = linear(bench.tensor("x"), bench.tensor("gate_up"));
    const act = swiglu(gateUp);
    return { gate_up_out: gateUp, act, y: linear(act, bench.tensor("down")) };
  },
  adaptive_avg_pool2d(bench) {
    const { out } = bench.golden.params as { out: [number, number] };
    return { y: adaptiveAvgPool2d(bench.map("x"), out) };
  },
  embed_splice(bench) {
    const image = bench.tensor("image");
    const ids = [...bench.data("ids")];
    const at = ids.indexOf(-200);
    ids.splice(at, 1, ...Array.from({ length: image.shape[0]! }, () => 0));
    const x = embed(gpu.upload([ids.length], "u32", Uint32Array.from(ids)), bench.tensor("table"), bench.dtype);
    gpu.copy(image, x.rows(at, at + image.shape[0]!));
    return { y: x };
  },
  argmax: (bench) => ({ y: argmax(bench.tensor("x")) }),
  linear: (bench) => ({ y: linear(bench.tensor("x"), bench.tensor("w"), { bias: bench.optional("b") }) }),
  int4_matmul(bench) {
    const { K, N, asymmetric } = bench.golden.params as { K: number; N: number; asymmetric: boolean };
    const stored = (name: string) => bytesOf("kernels", `${bench.golden.name}.${name}`).bytes.buffer;
    const format = asymmetric ? "int4-affine" : "int4";
    const codes = {
      codes: new Uint32Array(stored("w_packed")),
      scales: new Uint16Array(stored("scale")),
      offsets: asymmetric ? new Uint16Array(stored("bias")) : undefined,
    };
    const weight = QuantizedTensor.empty(gpu, format, [N, K]);
    const words = interleave(codes, format, K);
    gpu.write(weight.codes, 0, new Uint8Array(words.codes.buffer));
    gpu.write(weight.scales, 0, new Uint8Array(words.scales.buffer));
    return { y: linear(bench.tensor("x"), weight) };
  },
  rope(bench) {
    const { rotary_dim: rotaryDim, head_dim: headDim } = bench.golden.params as RopeParams;
    const { rows, count } = ropeRows(bench);
    const { shape, data } = permute(bench.shape("x"), bench.data("x"), [1, 0, 2]); // [T, heads, head dim]
    const [T = 0, heads = 0] = shape;
    // The heads as keys, each row followed by values that nobody asks for, and no queries.
    const width = heads * headDim;
    const packed = new Float32Array(2 * T * width);
    for (let t = 0; t < T; t++) packed.set(data.subarray(t * width, (t + 1) * width), 2 * t * width);
    const kv = bench.upload([T, 2 * width], packed);
    const [keys, values] = [kv.like([T, width]), kv.like([T, width])];
    const layout = { heads: 0, kvHeads: heads, headDim, rotaryDim, start: 0 };
    ropeAndCache(kv, gpu.upload([count, rotaryDim], "f32", rows), keys, values, layout);
    return { y: keys.reshape([T, heads, headDim]) };
  },
  gqa(bench) {
    const { heads, kv_heads: kvHeads, head_dim: headDim, past } = bench.golden.params as GqaParams;
    const rows = (name: string) => {
      const { shape, data } = permute(bench.shape(name), bench.data(name), [0, 2, 1, 3]); // [B, T, heads, head dim]
      const [B = 0, T = 0, N = 0, D = 0] = shape;
      const size = T * N * D;
      return Array.from({ length: B }, (_, b) => bench.upload([T, N * D], data.slice(b * size, (b + 1) * size)));
    };
    const [keys, values] = [rows("k"), rows("v")];
    const outputs = rows("q").map((q, b) =>
      causalAttention(q, keys[b]!, values[b]!, { heads, kvHeads, headDim, start: past }),
    );
    const y = outputs[0]!.like([outputs.length, ...outputs[0]!.shape]);
    for (const [b, output] of outputs.entries()) gpu.copy(output, y.rows(b, b + 1));
    return { y };
  },
};

interface ConvParams {
  readonly kernel: number;
  readonly stride: number;
  readonly groups: number;
  readonly gelu: boolean;
}

interface RopeParams {
  readonly theta: number;
  readonly head_dim: number;
  readonly rotary_dim: number;
  readonly attention_scaling: number;
  readonly factor?: "short" | "long";
}

interface GqaParams {
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  readonly past: number;
}

const epsOf = (bench: Bench): number => (bench.golden.params as { eps: number }).eps;

// biome-ignore format: a table
const PHI4_MINI_LONG_FACTORS = [
  1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649, 2.446418898, 2.735880826,
  3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845, 5.351743533, 5.984965424, 6.693110555, 7.485043894,
  8.370679318, 9.36110372, 10.4687158, 11.70738129, 13.09260651, 14.64173252, 16.37415215, 18.31155283, 20.47818807,
  22.90118105, 25.61086418, 28.64115884, 32.03, 32.1, 32.13, 32.23, 32.6, 32.61, 32.64, 32.66, 32.7, 32.71, 32.93, 32.97,
  33.28, 33.49, 33.5, 44.16, 47.77,
];

/** The rows of our table at the golden's positions, which need not be consecutive. */
function ropeRows(bench: Bench): { rows: Float32Array<ArrayBuffer>; count: number } {
  const { theta, rotary_dim: rotaryDim, attention_scaling, factor } = bench.golden.params as RopeParams;
  const positions = [...bench.data("position")];
  const table = ropeTable({
    positions: Math.max(...positions) + 1,
    rotaryDim,
    theta,
    attentionFactor: attention_scaling,
    ...(factor === "long" && { factors: PHI4_MINI_LONG_FACTORS }),
  });
  const rows = new Float32Array(positions.length * rotaryDim);
  for (const [i, p] of positions.entries()) {
    rows.set(table.subarray(p * rotaryDim, (p + 1) * rotaryDim), i * rotaryDim);
  }
  return { rows, count: positions.length };
}

/** Asserts |got − want| ≤ atol + rtol·|want| for every element. */
function assertClose(
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  tolerance: { atol: number; rtol: number },
): void {
  assert.equal(got.length, want.length, `${what}: number of elements`);
  for (let i = 0; i < want.length; i++) {
    const bound = tolerance.atol + tolerance.rtol * Math.abs(want[i]!);
    assert.ok(Math.abs(got[i]! - want[i]!) <= bound, `${what}[${i}]: expected ${want[i]} ± ${bound}, got ${got[i]}`);
  }
}

/** By how much f32 angles may be off, in radians: a frequency and its product with the position are each rounded. */
const angleError = (golden: Golden): number =>
  golden.op === "rope" ? Math.max(...golden.input("position")) * 2 ** -23 : 0;

async function check(golden: Golden, dtype: Precision): Promise<void> {
  const bench = new Bench(golden, dtype);
  const names: string[] = [];
  const kept = gpu.scope(() => {
    const outputs = RUNNERS[golden.op]!(bench);
    names.push(...Object.keys(outputs));
    return Object.values(outputs).map((tensor) => gpu.keep(tensor));
  });
  for (const [i, tensor] of kept.entries()) {
    const name = names[i]!;
    const raw = tensor.dtype === "u32" ? await gpu.readU32(tensor) : await gpu.read(tensor);
    const { shape } = golden.outputs[name]!;
    const got = fromChannelsLast(raw, tensor.shape, shape);
    // Exact goldens stay exact in f32; in f16 the stored values are rounded once.
    const exact = { atol: 0, rtol: dtype === "f16" && tensor.dtype !== "u32" ? 2 ** -11 : 0 };
    const { atol, rtol } = golden.tolerance(name, dtype) ?? exact;
    assertClose(`${golden.name}.${name}`, got, golden.output(name), { atol: atol + 4 * angleError(golden), rtol });
    gpu.release(tensor);
  }
}

const isExcluded = ({ op, name }: Golden): boolean => op in EXCLUDED || name in EXCLUDED_CASES;

test("every golden operation is run, or excluded for a reason", (context) => {
  const ops = new Set(goldens.map((golden) => golden.op));
  for (const op of ops) assert.ok(op in RUNNERS !== op in EXCLUDED, `${op}: expected a kernel or a reason`);
  for (const op of [...Object.keys(RUNNERS), ...Object.keys(EXCLUDED)]) assert.ok(ops.has(op), `${op}: no golden`);
  const names = goldens.map((golden) => golden.name);
  for (const name in EXCLUDED_CASES) assert.ok(names.includes(name), `${name}: no golden`);
  context.diagnostic(`covered: ${Object.keys(RUNNERS).join(", ")}`);
});

for (const dtype of ["f32", "f16"] as const) {
  describe(`goldens ${dtype}`, { skip: dtype === "f16" && !gpu.adapter.f16 && "the adapter has no f16" }, () => {
    for (const golden of goldens.filter((candidate) => !isExcluded(candidate))) {
      test(golden.name, () => check(golden, dtype));
    }
  });
}

test("rope_table equals the reference's f64 table within f32 rounding of the angles", () => {
  for (const golden of goldens.filter(({ op }) => op === "rope")) {
    const { rotary_dim: r } = golden.params as RopeParams;
    const { rows } = ropeRows(new Bench(golden, "f32"));
    for (const [name, offset] of [
      ["cos", 0],
      ["sin", r / 2],
    ] as const) {
      // The reference repeats the r/2 columns, once for each half of a head.
      const got = golden.output(name).map((_, i) => rows[Math.floor(i / r) * r + offset + (i % (r / 2))]!);
      const { atol, rtol } = golden.tolerance(name, "f32")!;
      assertClose(`${golden.name}.${name}`, got, golden.output(name), { atol: atol + 1.2 * angleError(golden), rtol });
    }
  }
});

interface ResizeGolden {
  readonly name: string;
  readonly op: string;
  readonly in: string;
  readonly out: string;
}

describe("resize equals Pillow in every byte", () => {
  const file = JSON.parse(readFileSync(new URL("golden/manifest.json", import.meta.url), "utf8")) as {
    preprocess: { cases: ResizeGolden[] };
  };
  for (const golden of file.preprocess.cases.filter(({ op }) => op === "bicubic_u8")) {
    test(golden.name, async () => {
      const input = bytesOf("preprocess", golden.in);
      const output = bytesOf("preprocess", golden.out);
      const sizeOf = ([height = 0, width = 0]: Shape) => ({ width, height });
      const padded = new Uint8Array(Math.ceil(input.bytes.length / 4) * 4);
      padded.set(input.bytes);
      const kept = gpu.scope(() => {
        const pixels = gpu.upload([padded.length / 4], "u32", padded);
        return gpu.keep(resizeBicubic(pixels, { source: sizeOf(input.shape), size: sizeOf(output.shape) }));
      });
      const got = new Uint8Array(await gpu.readBytes(kept), 0, output.bytes.length);
      gpu.release(kept);
      assert.deepEqual(got, output.bytes);
    });
  }
});
