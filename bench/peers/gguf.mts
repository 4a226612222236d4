// Writes a Qwen2 language model with random weights as llama.cpp reads it (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
import { closeSync, openSync, writeSync } from "node:fs";
import type { DecoderConfig } from "../../src/models/decoder/config.ts";
import { toHalf } from "../../src/tensor/half.ts";
import { randomFrom } from "../../test/mutate.ts";
import { Noise } from "./noise.mts";

const ALIGNMENT = 32;
/** Weights that share a scale. */
const BLOCK = 32;
const BLOCK_BYTES = 2 + BLOCK / 2;
const TYPES = { f32: 0, q4_0: 2 } as const;
const U32 = 4;
const I32 = 5;
const F32 = 6;
const STRING = 8;
const ARRAY = 9;

interface GgufTensor {
  readonly name: string;
  /** As PyTorch has it: [outputs, inputs], or one axis. */
  readonly shape: readonly number[];
  readonly mean: number;
}

const sizeOf = ({ shape }: GgufTensor): number => shape.reduce((a, b) => a * b);
const isMatrix = ({ shape }: GgufTensor): boolean => shape.length === 2;
const bytesOf = (tensor: GgufTensor): number =>
  isMatrix(tensor) ? (sizeOf(tensor) / BLOCK) * BLOCK_BYTES : sizeOf(tensor) * 4;
const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Matrices in Q4_0, the embedding included, which is the head as well; biases and norms in f32. */
export function writeGguf(path: string, config: DecoderConfig): void {
  const tensors = tensorsOf(config);
  const header = headerOf(config, tensors);
  const file = openSync(path, "w");
  const random = randomFrom(5);
  const nibbles = Uint8Array.from({ length: 4099 * BLOCK_BYTES }, () => random() * 256);
  const noise = new Noise();
  writeSync(file, header);
  for (const tensor of tensors) {
    const bytes = new Uint8Array(padded(bytesOf(tensor)));
    if (isMatrix(tensor)) fillBlocks(bytes.subarray(0, bytesOf(tensor)), nibbles, tensor.shape[1]!);
    else bytes.set(new Uint8Array(noise.take(sizeOf(tensor), 0.02, tensor.mean).buffer));
    writeSync(file, bytes);
  }
  closeSync(file);
}

/** Whole numbers uniform in −8 … 7 (deviation 4.6), each row scaled to deviate by 1 / √inputs. */
function fillBlocks(bytes: Uint8Array, nibbles: Uint8Array, inputs: number): void {
  const scale = toHalf(1 / (4.6 * Math.sqrt(inputs)));
  const blocks = nibbles.slice();
  for (let at = 0; at < blocks.length; at += BLOCK_BYTES) blocks.set([scale & 255, scale >> 8], at);
  for (let at = 0; at < bytes.length; at += blocks.length) bytes.set(blocks.subarray(0, bytes.length - at), at);
}

function tensorsOf({
  hiddenSize: D,
  intermediateSize: I,
  heads,
  kvHeads,
  headDim,
  layers,
  vocabSize,
}: DecoderConfig): GgufTensor[] {
  const norm = (name: string): GgufTensor => ({ name, shape: [D], mean: 1 });
  const matrix = (name: string, outputs: number, inputs: number): GgufTensor => ({
    name,
    shape: [outputs, inputs],
    mean: 0,
  });
  const biased = (name: string, outputs: number): GgufTensor[] => [
    matrix(`${name}.weight`, outputs, D),
    { name: `${name}.bias`, shape: [outputs], mean: 0 },
  ];
  const layer = (i: number): GgufTensor[] => [
    norm(`blk.${i}.attn_norm.weight`),
    ...biased(`blk.${i}.attn_q`, heads * headDim),
    ...biased(`blk.${i}.attn_k`, kvHeads * headDim),
    ...biased(`blk.${i}.attn_v`, kvHeads * headDim),
    matrix(`blk.${i}.attn_output.weight`, D, heads * headDim),
    norm(`blk.${i}.ffn_norm.weight`),
    matrix(`blk.${i}.ffn_gate.weight`, I, D),
    matrix(`blk.${i}.ffn_up.weight`, I, D),
    matrix(`blk.${i}.ffn_down.weight`, D, I),
  ];
  const all = Array.from({ length: layers }, (_, i) => layer(i)).flat();
  return [matrix("token_embd.weight", vocabSize, D), ...all, norm("output_norm.weight")];
}

function headerOf(config: DecoderConfig, tensors: readonly GgufTensor[]): Uint8Array {
  const out = new Bytes();
  const { hiddenSize, intermediateSize, layers, heads, kvHeads, normEps, ropeTheta, vocabSize, maxPositions } = config;
  const u32 = (value: number) => () => out.u32(U32).u32(value);
  const f32 = (value: number) => () => out.u32(F32).f32(value);
  const text = (value: string) => () => out.u32(STRING).text(value);
  const texts = (values: readonly string[]) => () => {
    out.u32(ARRAY).u32(STRING).u64(values.length);
    for (const value of values) out.text(value);
  };
  const ints = (values: readonly number[]) => () => {
    out.u32(ARRAY).u32(I32).u64(values.length);
    for (const value of values) out.u32(value);
  };
  const tokens = vocabulary(vocabSize);
  const entries: Readonly<Record<string, () => void>> = {
    "general.architecture": text("qwen2"),
    "qwen2.block_count": u32(layers),
    "qwen2.context_length": u32(maxPositions),
    "qwen2.embedding_length": u32(hiddenSize),
    "qwen2.feed_forward_length": u32(intermediateSize),
    "qwen2.attention.head_count": u32(heads),
    "qwen2.attention.head_count_kv": u32(kvHeads),
    "qwen2.attention.layer_norm_rms_epsilon": f32(normEps),
    "qwen2.rope.freq_base": f32(ropeTheta),
    "tokenizer.ggml.model": text("gpt2"),
    "tokenizer.ggml.pre": text("qwen2"),
    "tokenizer.ggml.tokens": texts(tokens),
    "tokenizer.ggml.token_type": ints(tokens.map(() => 1)),
    "tokenizer.ggml.merges": texts([`${tokens[65]} ${tokens[66]}`]),
    "tokenizer.ggml.eos_token_id": u32(vocabSize - 1),
  };
  out.bytes(new TextEncoder().encode("GGUF")).u32(3).u64(tensors.length).u64(Object.keys(entries).length);
  for (const [key, write] of Object.entries(entries)) {
    out.text(key);
    write();
  }
  let offset = 0;
  for (const tensor of tensors) {
    out.text(tensor.name).u32(tensor.shape.length);
    for (const axis of tensor.shape.toReversed()) out.u64(axis); // the innermost first
    out.u32(TYPES[isMatrix(tensor) ? "q4_0" : "f32"]).u64(offset);
    offset += padded(bytesOf(tensor));
  }
  return out.padded();
}

/** The 256 bytes as GPT-2 writes them, then made-up words. */
function vocabulary(size: number): string[] {
  const shown = (byte: number): boolean => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let hidden = 0;
  return Array.from({ length: size }, (_, i) => {
    if (i >= 256) return `<${i}>`;
    return String.fromCodePoint(shown(i) ? i : 256 + hidden++);
  });
}

/** Little-endian. */
class Bytes {
  #data = new Uint8Array(2 ** 16);
  #view = new DataView(this.#data.buffer);
  #length = 0;

  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#data.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#data.subarray(0, at));
      this.#data = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  bytes(data: Uint8Array): this {
    const at = this.#grow(data.length);
    this.#data.set(data, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  f32(value: number): this {
    const at = this.#grow(4);
    this.#view.setFloat32(at, value, true);
    return this;
  }

  u64(value: number): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  text(value: string): this {
    const data = new TextEncoder().encode(value);
    return this.u64(data.length).bytes(data);
  }

  padded(): Uint8Array {
    this.#grow(padded(this.#length) - this.#length);
    return this.#data.subarray(0, this.#length);
  }
}
