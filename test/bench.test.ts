// What the benches compute beside measuring: counted work, and the numerics of the model FastVLM is compared with.
import assert from "node:assert/strict";
import { test } from "node:test";
import { patchesOf, Siglip, type SiglipConfig, SO400M } from "../bench/baseline/siglip.mts";
import { siglipTensors } from "../bench/baseline/tensors.mts";
import { decoderParameters, decoderWork, fastvithdLayers, siglipLayers, sumOf } from "../bench/lib/counts.mts";
import { fitGrowth } from "../bench/lib/fit.mts";
import { spread } from "../bench/lib/stats.mts";
import { attendRef } from "../kernels/attention.ref.ts";
import { layerNormRef } from "../kernels/layer_norm.ref.ts";
import { linearRef } from "../kernels/linear.ref.ts";
import { decoderConfig } from "../src/models/decoder/config.ts";
import { FASTVITHD } from "../src/models/fastvithd/config.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { Weights } from "../weights/weights.ts";
import { gpu } from "./gpu.ts";
import { randomFolderOf } from "./random_folder.ts";
import { CONFIGS } from "./random_shapes.ts";
import { tensorsOf } from "./random_tensors.ts";

test("FastViTHD's multiply-adds and parameters, stage by stage, are those PyTorch's counters give", () => {
  const layers = fastvithdLayers(FASTVITHD, 1024);
  const gmacs = (name: string): string =>
    (
      sumOf(
        layers.filter((layer) => layer.name === name),
        ({ macs }) => macs,
      ) / 1e9
    ).toFixed(1);
  const stages = ["stem", "stage 0", "stage 1", "stage 2", "stage 3", "stage 4"];
  assert.deepEqual(stages.map(gmacs), ["1.3", "10.4", "60.9", "118.8", "36.3", "15.6"]);
  assert.equal((sumOf(fastvithdLayers(FASTVITHD, 512), ({ macs }) => macs) / 1e9).toFixed(1), "59.6");
  const parameters = sumOf(layers, (layer) => layer.parameters);
  assert.ok(Math.abs(parameters - 122_714_208) < 0.001 * 122_714_208, String(parameters));
});

for (const shape of ["fastvlm-0.5b", "phi-4-mini", "phi-4"]) {
  test(`the counted matrices of ${shape} are those of its checkpoint`, () => {
    const config = decoderConfig(CONFIGS[shape]!.config);
    const stored = tensorsOf(shape).filter(({ name, shape: { length } }) => {
      return length === 2 && /embed_tokens|lm_head|\.layers\.\d+\.(self_attn|mlp)\./.test(name) && !/vision/.test(name);
    });
    const inHead = ({ name }: { name: string }): boolean => /embed_tokens|lm_head/.test(name);
    const size = (tensors: typeof stored): number => sumOf(tensors, (t) => t.shape.reduce((a, b) => a * b));
    const { layers, head } = decoderParameters(config);
    assert.equal(layers, size(stored.filter((t) => !inHead(t))));
    assert.equal(head * (config.tied ? 1 : 2), size(stored.filter(inHead)));
  });
}

test("reading a prompt in two parts is the work of reading it at once, but for one more last token", () => {
  const config = decoderConfig(CONFIGS["fastvlm-0.5b"]!.config);
  const storage = { weight: 2, table: 2, cache: 2 };
  const flops = (part: { tokens: number; past?: number }): number => decoderWork(config, part, storage).flops;
  const { hiddenSize: D, intermediateSize: I, heads, headDim } = config;
  const logits = 2 * decoderParameters(config).head;
  const layer = 2 * (heads * headDim * D + 3 * D * I) + 4 * heads * headDim * 100; // output, MLP and attention of one row
  assert.equal(flops({ tokens: 300 }), flops({ tokens: 100 }) + flops({ tokens: 200, past: 100 }) - logits - layer);
});

test("SigLIP-so400m's size is the published one, less the pooling head", () => {
  const head = 1152 + (4 * 1152 ** 2 + 4 * 1152) + 2 * 1152 + (2 * 1152 * 4304 + 4304 + 1152);
  const norm = 2 * 1152;
  const tower = sumOf(siglipLayers(SO400M), ({ parameters }) => parameters);
  assert.equal(tower + norm + head, 428_225_600);
  assert.equal(
    tower,
    sumOf(siglipTensors(SO400M), ({ shape }) => shape.reduce((a, b) => a * b)),
  );
});

/** The definition, in loops over float64. */
function siglipRef(w: (name: string) => Float32Array, patches: Float32Array, c: SiglipConfig): Float64Array {
  const { width: W, heads, layers, eps } = c;
  const tokens = Math.floor(c.imageSize / c.patch) ** 2;
  const headDim = W / heads;
  const affine = (x: ArrayLike<number>, name: string, options: object = {}): Float64Array =>
    linearRef(x, w(`${name}.weight`), w(`${name}.bias`).length, { bias: w(`${name}.bias`), ...options });
  const norm = (x: ArrayLike<number>, name: string) => layerNormRef(x, w(`${name}.weight`), w(`${name}.bias`), eps);
  let x = affine(patches, "embeddings.patch_embedding", { residual: w("embeddings.position_embedding.weight") });
  for (let i = 0; i < layers; i++) {
    const layer = `encoder.layers.${i}`;
    const normed = norm(x, `${layer}.layer_norm1`);
    const [q, k, v] = ["q", "k", "v"].map((part) => affine(normed, `${layer}.self_attn.${part}_proj`));
    const mixed = new Float64Array(tokens * W);
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        const key = (token: number): number => token * W + h * headDim;
        mixed.set(attendRef({ q: q!, k: k!, v: v! }, { q: key(t), k: key, v: key }, tokens, headDim), key(t));
      }
    }
    const h = affine(mixed, `${layer}.self_attn.out_proj`, { residual: x });
    const hidden = affine(norm(h, `${layer}.layer_norm2`), `${layer}.mlp.fc1`, { activation: "gelu" });
    x = affine(hidden, `${layer}.mlp.fc2`, { residual: h });
  }
  return x;
}

test("SigLIP on the GPU is SigLIP by its definition", async () => {
  const config = { imageSize: 30, patch: 7, width: 48, layers: 2, heads: 4, mlpWidth: 72, eps: 1e-6 };
  const texts = { "config.json": "{}" };
  const folder = randomFolderOf(siglipTensors(config), { name: "random siglip", dtype: "f16", texts });
  const checkpoint = await openCheckpoint(folder);
  const weights = Weights.of(gpu, checkpoint, "f32");
  const tower = new Siglip(weights, config);
  await weights.load();
  const stored = new Map<string, Float32Array>();
  for (const name of checkpoint.tensors.keys()) stored.set(name, await checkpoint.readF32(name));
  const tiles = [37, 53].map((step) => Uint8Array.from({ length: 30 * 30 * 3 }, (_, i) => (i * step) % 251));
  const patches = gpu.empty([2, 16, 147], "f32");
  for (const [b, tile] of tiles.entries()) {
    gpu.write(patches, b * 16 * 147 * 4, new Uint8Array(patchesOf(tile, config).buffer));
  }
  const got = await gpu.read(gpu.scope(() => gpu.keep(tower.forward(patches))));
  const want = tiles.flatMap((tile) => [
    ...siglipRef((name) => stored.get(name)!, patchesByDefinition(tile, config), config),
  ]);
  const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0);
  assert.equal(got.length, want.length);
  assert.ok(worst < 1e-4, `error ${worst}`);
  gpu.release(patches);
  weights.release();
});

/** Row `token`, column `c·P² + y·P + x`: the pixel at (x, y) of the patch, channel c, scaled to −1 … 1. */
function patchesByDefinition(tile: Uint8Array, { imageSize: S, patch: P }: SiglipConfig): Float32Array {
  const grid = Math.floor(S / P);
  return Float32Array.from({ length: grid ** 2 * 3 * P ** 2 }, (_, i) => {
    const [token, column] = [Math.floor(i / (3 * P ** 2)), i % (3 * P ** 2)];
    const [c, y, x] = [Math.floor(column / P ** 2), Math.floor(column / P) % P, column % P];
    const pixel = (Math.floor(token / grid) * P + y) * S + (token % grid) * P + x;
    return tile[3 * pixel + c]! / 127.5 - 1;
  });
}

test("median and tenths", () => {
  assert.deepEqual(spread([5, 1, 3]), { median: 3, p10: 1.4, p90: 4.6 });
  assert.equal(spread([1, 2]).median, 1.5);
});

test("growth is extrapolated by a linear and a quadratic term, neither negative", () => {
  const law = (tokens: number): number => 3 * tokens + 0.002 * tokens ** 2;
  const at = (...tokens: number[]) => tokens.map((t) => [t, law(t)] as const);
  assert.ok(Math.abs(fitGrowth(at(384, 768, 1536))(7322) / law(7322) - 1) < 1e-9);
  const bent = fitGrowth([
    [100, 200],
    [200, 300],
  ]);
  assert.ok(Math.abs(bent(2000) / bent(1000) - 2) < 1e-9);
  assert.equal(fitGrowth([[10, 30]])(100), 300);
});
