import { type Shape, sizeOf } from "../src/tensor/shape.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { denseLayout, depthwiseLayout, windowLength } from "./layout.ts";
import type { Compute } from "./pump.ts";
import type { Weights } from "./weights.ts";

// Folding: batch norm into the convolution before it, and the parallel branches of a training-time module into one
// convolution (MobileOne, arXiv 2206.04040; RepMixer, FastViT §3.1; RepLKNet, arXiv 2203.06717). All sums are f64.

/** Every batch norm of FastViTHD uses PyTorch's default. */
const BATCH_NORM_EPS = 1e-5;

/** What a convolution's module is called in the papers; it decides which branches the training form has. */
export type ConvKind = "mobileone" | "largekernel" | "repmixer" | "repcpe";

export interface ConvSpec {
  readonly kind: ConvKind;
  /** Memory layout kernels want: depthwise [K, K, O], dense [O, L] (see `denseLayout`), pointwise [O, I]. */
  readonly layout: "depthwise" | "dense" | "pointwise";
  readonly inputs: number;
  readonly outputs: number;
  readonly kernel: number;
}

export interface FoldedConv {
  readonly weight: Tensor;
  /** f32 [O] */
  readonly bias: Tensor;
}

/**
 * The single convolution that a reparameterisable module computes at inference: `reparam_conv` where the checkpoint has
 * it, else its training-time branches folded while loading.
 *
 * @param w at the module, whose names (below `w`) are timm's
 */
export function reparam(w: Weights, spec: ConvSpec): FoldedConv {
  const { outputs } = spec;
  const unfolded = !w.has("reparam_conv") && w.has(FIRST_BRANCH[spec.kind]);
  if (!unfolded && spec.layout === "pointwise") {
    // Already a matrix, and possibly a large one: it can be streamed.
    const weight = w.tensor("reparam_conv.weight", weightShape(spec, 1), { as: laidOut(spec) });
    return { weight, bias: w.tensor("reparam_conv.bias", [outputs], { dtype: "f32" }) };
  }
  const parts = unfolded ? BRANCHES[spec.kind](w, spec) : [stored("reparam_conv", spec)];
  return {
    weight: declareWeight(w, parts, spec),
    bias: declare(w, parts.flatMap(biasParts), [outputs], (bias) => bias, { dtype: "f32" }),
  };
}

/**
 * A depthwise K×K convolution without bias and its batch norm, as in FastViT's feed-forward: `conv` and `bn` below `w`.
 *
 *     t = γ / √(variance + ε);   W' = W · t;   b' = β − mean · t
 */
export function convBn(w: Weights, channels: number, kernel: number): FoldedConv {
  const spec: ConvSpec = { kind: "mobileone", layout: "depthwise", inputs: channels, outputs: channels, kernel };
  const part = convThenNorm("", kernel, spec);
  return {
    weight: declareWeight(w, [part], spec),
    bias: declare(w, biasParts(part), [channels], (bias) => bias, { dtype: "f32" }),
  };
}

/** One addend of a folded tensor: its stored sources, and how they add to the sum. */
interface Addend {
  readonly sources: readonly (readonly [name: string, shape: Shape])[];
  readonly add: (sum: Float64Array, sources: readonly Float32Array[]) => void;
}

/** One branch: its share of the weight and of the bias. */
interface Branch {
  readonly weight: Addend;
  readonly bias: Addend;
}

const weightParts = ({ weight }: Branch): Addend[] => [weight];
const biasParts = ({ bias }: Branch): Addend[] => [bias];

const FIRST_BRANCH: Readonly<Record<ConvKind, string>> = {
  mobileone: "conv_kxk",
  largekernel: "large_conv",
  repmixer: "mixer",
  repcpe: "pos_enc",
};

const BRANCHES: Readonly<Record<ConvKind, (w: Weights, spec: ConvSpec) => Branch[]>> = {
  mobileone: (w, spec) => mobileOne(w, "", spec),
  largekernel: (w, spec) => [
    convThenNorm("large_conv", spec.kernel, spec),
    ...(w.has("small_conv") ? [convThenNorm("small_conv", 3, spec)] : []),
  ],
  // x + γ · (mixer(x) − norm(x))
  repmixer: (w, spec) => [
    identity(spec),
    ...mobileOne(w, "mixer", spec).map((branch) => scaled(branch, 1, spec)),
    ...mobileOne(w, "norm", spec).map((branch) => scaled(branch, -1, spec)),
  ],
  // conv(x) + x
  repcpe: (_, spec) => [stored("pos_enc", spec), identity(spec)],
};

/** Any number of K×K branches, and where present a 1×1 branch and a bare batch norm. */
function mobileOne(w: Weights, path: string, spec: ConvSpec): Branch[] {
  const at = (name: string) => (path ? `${path}.${name}` : name);
  const branches: Branch[] = [];
  for (let i = 0; w.has(at(`conv_kxk.${i}`)); i++) branches.push(convThenNorm(at(`conv_kxk.${i}`), spec.kernel, spec));
  if (w.has(at("conv_scale"))) branches.push(convThenNorm(at("conv_scale"), 1, spec));
  if (w.has(at("identity"))) branches.push(bareNorm(at("identity"), spec));
  return branches;
}

/** Inputs that each output channel sees. */
const fanIn = ({ layout, inputs }: ConvSpec): number => (layout === "depthwise" ? 1 : inputs);

const weightShape = (spec: ConvSpec, kernel: number): Shape => [spec.outputs, fanIn(spec), kernel, kernel];

/** A convolution that is already one, weight and bias. */
function stored(path: string, spec: ConvSpec): Branch {
  const add: Addend["add"] = (sum, [values]) => {
    for (let i = 0; i < sum.length; i++) sum[i]! += values![i]!;
  };
  return {
    weight: { sources: [[`${path}.weight`, weightShape(spec, spec.kernel)]], add },
    bias: { sources: [[`${path}.bias`, [spec.outputs]]], add },
  };
}

/** A convolution of `kernel` ≤ K without bias, zero-padded to K×K, and the batch norm after it. */
function convThenNorm(path: string, kernel: number, spec: ConvSpec): Branch {
  const prefix = path ? `${path}.` : "";
  const at = (tap: number) => spreadTap(tap, kernel, spec.kernel);
  const taps = kernel * kernel;
  const allTaps = spec.kernel * spec.kernel;
  return {
    weight: {
      sources: [[`${prefix}conv.weight`, weightShape(spec, kernel)], ...gainSources(`${prefix}bn`, spec.outputs)],
      add: (sum, [weight, gamma, variance]) => {
        const fan = fanIn(spec);
        for (let o = 0; o < spec.outputs; o++) {
          const t = gain(gamma![o]!, variance![o]!);
          for (let i = o * fan; i < (o + 1) * fan; i++) {
            for (let tap = 0; tap < taps; tap++) sum[i * allTaps + at(tap)]! += weight![i * taps + tap]! * t;
          }
        }
      },
    },
    bias: shift(`${prefix}bn`, spec.outputs),
  };
}

/** A batch norm on its own: a convolution whose kernel is 1 at the centre of its own channel. */
function bareNorm(path: string, spec: ConvSpec): Branch {
  return {
    weight: {
      sources: gainSources(path, spec.outputs),
      add: (sum, [gamma, variance]) => {
        for (let o = 0; o < spec.outputs; o++) sum[centre(o, spec)]! += gain(gamma![o]!, variance![o]!);
      },
    },
    bias: shift(path, spec.outputs),
  };
}

/** The skip connection x itself. */
function identity(spec: ConvSpec): Branch {
  const add: Addend["add"] = (sum) => {
    for (let o = 0; o < spec.outputs; o++) sum[centre(o, spec)]! += 1;
  };
  return { weight: { sources: [], add }, bias: { sources: [], add: () => {} } };
}

/** The branch times ±γ, RepMixer's layer scale. */
function scaled(branch: Branch, sign: 1 | -1, { outputs }: ConvSpec): Branch {
  const times = ({ sources, add }: Addend): Addend => ({
    sources: [["layer_scale.gamma", [outputs, 1, 1]], ...sources],
    add: (sum, [gamma, ...rest]) => {
      const own = new Float64Array(sum.length);
      add(own, rest);
      const each = sum.length / outputs;
      for (let i = 0; i < sum.length; i++) sum[i]! += sign * gamma![Math.floor(i / each)]! * own[i]!;
    },
  });
  return { weight: times(branch.weight), bias: times(branch.bias) };
}

const gain = (gamma: number, variance: number): number => gamma / Math.sqrt(variance + BATCH_NORM_EPS);

const gainSources = (path: string, outputs: number) =>
  [
    [`${path}.weight`, [outputs]],
    [`${path}.running_var`, [outputs]],
  ] as const;

function shift(path: string, outputs: number): Addend {
  return {
    sources: [...gainSources(path, outputs), [`${path}.bias`, [outputs]], [`${path}.running_mean`, [outputs]]],
    add: (sum, [gamma, variance, beta, mean]) => {
      for (let o = 0; o < outputs; o++) sum[o]! += beta![o]! - mean![o]! * gain(gamma![o]!, variance![o]!);
    },
  };
}

/** Where a tap of a small kernel lands when it is centred in a large one. */
function spreadTap(tap: number, small: number, large: number): number {
  const margin = (large - small) / 2;
  return (Math.floor(tap / small) + margin) * large + (tap % small) + margin;
}

/** Index of the weight that multiplies the pixel itself: output channel o, its own input channel, centre tap. */
function centre(o: number, spec: ConvSpec): number {
  const own = spec.layout === "depthwise" ? 0 : o;
  return (o * fanIn(spec) + own) * spec.kernel ** 2 + Math.floor(spec.kernel ** 2 / 2);
}

function laidOut({ layout, inputs, outputs, kernel }: ConvSpec): Shape {
  if (layout === "depthwise") return [kernel, kernel, outputs];
  return [outputs, layout === "dense" ? windowLength(inputs, kernel) : inputs];
}

function toLayout(weight: Float64Array, { layout, inputs, outputs, kernel }: ConvSpec): ArrayLike<number> {
  if (layout === "depthwise") return depthwiseLayout(weight, outputs, kernel);
  return layout === "dense" ? denseLayout(weight, outputs, inputs, kernel) : weight;
}

function declareWeight(w: Weights, branches: readonly Branch[], spec: ConvSpec): Tensor {
  const size = sizeOf(weightShape(spec, spec.kernel));
  return declare(w, branches.flatMap(weightParts), laidOut(spec), (weight) => toLayout(weight, spec), { size });
}

/** Declares the sum of the addends, each of which receives its own sources. The sum may be shorter than its layout. */
function declare(
  w: Weights,
  addends: readonly Addend[],
  shape: Shape,
  finish: (sum: Float64Array) => ArrayLike<number>,
  { size = sizeOf(shape), dtype }: { readonly size?: number; readonly dtype?: "f32" },
): Tensor {
  const compute: Compute = (arrays) => {
    const sum = new Float64Array(size);
    let at = 0;
    for (const { sources, add } of addends) {
      add(sum, arrays.slice(at, at + sources.length));
      at += sources.length;
    }
    return finish(sum);
  };
  return w.computed(
    addends.flatMap(({ sources }) => sources),
    shape,
    compute,
    { ...(dtype && { dtype }) },
  );
}
