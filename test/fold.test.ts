import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { nodeFolder } from "../src/node/folder.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { type ConvKind, type ConvSpec, convBn, reparam } from "../weights/fold.ts";
import { memoryFolder } from "../weights/folder.ts";
import { windowLength } from "../weights/layout.ts";
import { appleNames } from "../weights/names.ts";
import { Weights } from "../weights/weights.ts";
import { gpu } from "./gpu.ts";

const GOLDEN = fileURLToPath(new URL("./golden/", import.meta.url));

interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}
interface Case {
  readonly name: string;
  readonly op: string;
  readonly params: { readonly kernel: number; readonly groups?: number };
  readonly outputs: Readonly<Record<string, { readonly shape: number[]; readonly tol_f32: Tolerance }>>;
}

const manifest = JSON.parse(await readFile(`${GOLDEN}manifest.json`, "utf8"));
const kernels = await openFile("kernels.safetensors");
const KINDS: Readonly<Record<string, ConvKind>> = {
  repmixer_fold: "repmixer",
  mobileone_fold: "mobileone",
  large_kernel_fold: "largekernel",
  repcpe_fold: "repcpe",
};

async function openFile(file: string): Promise<Checkpoint> {
  return openCheckpoint(memoryFolder({ "model.safetensors": await readFile(GOLDEN + file) }));
}

/** Elements of a tensor in kernel layout, back in PyTorch's [O, I, K, K]. */
async function stored(weight: Tensor, { layout, inputs, outputs, kernel }: ConvSpec): Promise<Float32Array> {
  const values = await gpu.read(weight);
  if (layout === "pointwise") return values;
  const fan = layout === "depthwise" ? 1 : inputs;
  const taps = kernel * kernel;
  const length = windowLength(fan, kernel);
  return Float32Array.from({ length: outputs * fan * taps }, (_, index) => {
    const [o, i, tap] = [Math.floor(index / (fan * taps)), Math.floor(index / taps) % fan, index % taps];
    return values[layout === "depthwise" ? tap * outputs + o : o * length + tap * fan + i]!;
  });
}

function assertClose(what: string, got: Float32Array, want: Float32Array, { atol, rtol }: Tolerance): void {
  assert.equal(got.length, want.length, what);
  for (let i = 0; i < want.length; i++) {
    const limit = atol + rtol * Math.abs(want[i]!);
    assert.ok(Math.abs(got[i]! - want[i]!) <= limit, `${what}[${i}]: expected ${want[i]}, got ${got[i]}`);
  }
}

/** The stored shape [O, I, K, K] as a specification. */
function specOf(kind: ConvKind, shape: readonly number[]): ConvSpec {
  const [outputs = 0, fan = 0, kernel = 0] = shape;
  const layout = kernel === 1 ? "pointwise" : fan === 1 ? "depthwise" : "dense";
  return { kind, layout, outputs, inputs: layout === "depthwise" ? outputs : fan, kernel };
}

describe("folding: golden cases", () => {
  for (const { name, op, outputs } of manifest.kernels.cases as Case[]) {
    const kind = KINDS[op];
    if (!kind) continue;
    test(name, async () => {
      const [weightKey, biasKey] = ["weight", "bias"].map(
        (end) => Object.keys(outputs).find((key) => key.startsWith("folded.") && key.endsWith(end))!,
      );
      const spec = specOf(kind, outputs[weightKey!]!.shape);
      const w = Weights.of(gpu, kernels, "f32");
      const apple = name.endsWith("_apple");
      // Below a downsample's proj.0 Apple calls the folded kernel lkb_reparam; branch names do not depend on the place.
      const { weight, bias } = reparam(w.renamed(`${name}.param`, apple ? appleNames : (path) => path), spec);
      await w.load();
      const wanted = (key: string) => kernels.readF32(`${name}.${key}`);
      assertClose("weight", await stored(weight, spec), await wanted(weightKey!), outputs[weightKey!]!.tol_f32);
      assertClose("bias", await gpu.read(bias), await wanted(biasKey!), outputs[biasKey!]!.tol_f32);
      w.release();
    });
  }

  test("dw7_bn_fold", async () => {
    const names: Readonly<Record<string, string>> = {
      "conv.weight": "w",
      "bn.weight": "gamma",
      "bn.bias": "beta",
      "bn.running_mean": "mean",
      "bn.running_var": "var",
    };
    const w = Weights.of(gpu, kernels, "f32");
    const { weight, bias } = convBn(
      w.renamed("dw7_bn_fold", (path) => names[path] ?? path),
      11,
      7,
    );
    await w.load();
    const spec: ConvSpec = { kind: "mobileone", layout: "depthwise", inputs: 11, outputs: 11, kernel: 7 };
    const tolerance = { atol: 2e-6, rtol: 1e-5 };
    assertClose("weight", await stored(weight, spec), await kernels.readF32("dw7_bn_fold.w_folded"), tolerance);
    assertClose("bias", await gpu.read(bias), await kernels.readF32("dw7_bn_fold.b_folded"), tolerance);
    w.release();
  });
});

describe("folding: a whole tower in training form", () => {
  test("every reparam_conv equals PyTorch's", async () => {
    const run = await openFile("runs/fastvit_train_timm.main.safetensors");
    const checkpoint = await openCheckpoint(await nodeFolder(`${GOLDEN}models/fastvit_train_timm`));
    const w = Weights.of(gpu, checkpoint, "f32");
    const folded = [...run.tensors.values()].filter(
      ({ name }) => name.startsWith("folded.") && name.endsWith(".weight"),
    );
    const convs = folded.map(({ name, shape }) => {
      const module = name.slice("folded.".length, -".reparam_conv.weight".length);
      const spec = specOf(kindOf(module), shape);
      return { name, spec, conv: reparam(w.at(module), spec) };
    });
    assert.equal(convs.length, 17);
    await w.load();
    const tolerance = { atol: 1e-4, rtol: 1e-4 };
    for (const { name, spec, conv } of convs) {
      assertClose(name, await stored(conv.weight, spec), await run.readF32(name), tolerance);
      const bias = name.replace(/weight$/, "bias");
      assertClose(bias, await gpu.read(conv.bias), await run.readF32(bias), tolerance);
    }
    w.release();
  });
});

function kindOf(module: string): ConvKind {
  if (module.endsWith("token_mixer")) return "repmixer";
  if (module.endsWith("pos_emb")) return "repcpe";
  return module.endsWith("proj.0") ? "largekernel" : "mobileone";
}
