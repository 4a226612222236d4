// Writes ONNX models: the few messages of its protobuf that a network needs (https://onnx.ai/onnx/repo-docs/IR.html).

/** A message's bytes, in pieces so that weights are copied once. */
interface Bytes {
  readonly parts: readonly Uint8Array[];
  readonly length: number;
}

const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

const join = (items: readonly Bytes[]): Bytes => ({
  parts: items.flatMap(({ parts }) => parts),
  length: items.reduce((sum, { length }) => sum + length, 0),
});

const raw = (bytes: Uint8Array): Bytes => ({ parts: [bytes], length: bytes.length });
const integer = (field: number, value: number): Bytes =>
  raw(Uint8Array.from([...varint(field * 8 + VARINT), ...varint(value)]));
const nested = (field: number, content: Bytes): Bytes =>
  join([raw(Uint8Array.from([...varint(field * 8 + BYTES), ...varint(content.length)])), content]);
const text = (field: number, value: string): Bytes => nested(field, raw(new TextEncoder().encode(value)));

function real(field: number, value: number): Bytes {
  return join([
    raw(Uint8Array.from(varint(field * 8 + FIXED32))),
    raw(new Uint8Array(new Float32Array([value]).buffer)),
  ]);
}

export const TYPES = { f32: 1, u8: 2, i32: 6, i64: 7 } as const;
export type OnnxType = keyof typeof TYPES;

/** A name stands for a size that is known when the graph runs. */
export type OnnxShape = readonly (number | string)[];

/** Whole numbers are written as such; `{ real }` as a float. */
export type Attribute = number | string | readonly number[] | { readonly real: number };

function attribute(name: string, value: Attribute): Bytes {
  const typed =
    typeof value === "number"
      ? [integer(3, value), integer(20, 2)]
      : typeof value === "string"
        ? [text(4, value), integer(20, 3)]
        : "real" in value
          ? [real(2, value.real), integer(20, 1)]
          : [...value.map((item) => integer(8, item)), integer(20, 7)];
  return nested(5, join([text(1, name), ...typed]));
}

/** A graph in the making. Values are named by strings; every operation returns the name of its result. */
export class OnnxGraph {
  readonly #nodes: Bytes[] = [];
  readonly #weights: Bytes[] = [];
  readonly #inputs: Bytes[] = [];
  readonly #outputs: Bytes[] = [];
  #names = 0;

  input(name: string, type: OnnxType, shape: OnnxShape): string {
    this.#inputs.push(nested(11, value(name, type, shape)));
    return name;
  }

  /** Hands out a value, under another name if one is given. */
  output(name: string, type: OnnxType, shape: OnnxShape, as = name): void {
    if (as !== name) this.#nodes.push(nested(1, join([text(1, name), text(2, as), text(4, "Identity")])));
    this.#outputs.push(nested(12, value(as, type, shape)));
  }

  /** A constant. */
  weight(type: OnnxType, shape: readonly number[], data: ArrayBufferView): string {
    const name = `w${this.#names++}`;
    const dims = shape.map((size) => integer(1, size));
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#weights.push(
      nested(5, join([...dims, integer(2, TYPES[type]), text(8, name), nested(9, raw(bytes as Uint8Array))])),
    );
    return name;
  }

  /** A list of whole numbers as a constant, such as a shape. */
  ints(...values: number[]): string {
    return this.weight("i64", [values.length], BigInt64Array.from(values, BigInt));
  }

  /** Appends an operation. */
  node(
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
    options?: { readonly domain?: string },
  ): string {
    return this.nodes(op, inputs, attributes, options)[0]!;
  }

  /** The same with several results. */
  nodes(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    { domain = "", outputs = 1 }: { domain?: string; outputs?: number } = {},
  ): string[] {
    const results = Array.from({ length: outputs }, () => `v${this.#names++}`);
    this.#nodes.push(
      nested(
        1,
        join([
          ...inputs.map((name) => text(1, name)),
          ...results.map((name) => text(2, name)),
          text(3, `n${this.#names}`),
          text(4, op),
          ...Object.entries(attributes).map(([name, content]) => attribute(name, content)),
          ...(domain ? [text(7, domain)] : []),
        ]),
      ),
    );
    return results;
  }

  /** The whole model as a file's bytes. */
  encode(): Uint8Array<ArrayBuffer> {
    const graph = join([...this.#nodes, text(2, "bench"), ...this.#weights, ...this.#inputs, ...this.#outputs]);
    const model = join([
      integer(1, 9),
      nested(8, join([text(1, ""), integer(2, 18)])),
      nested(8, join([text(1, "com.microsoft"), integer(2, 1)])),
      nested(7, graph),
    ]);
    const bytes = new Uint8Array(model.length);
    let at = 0;
    for (const part of model.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

function value(name: string, type: OnnxType, shape: OnnxShape): Bytes {
  const dims = shape.map((size) => nested(1, typeof size === "string" ? text(2, size) : integer(1, size)));
  const tensor = join([integer(1, TYPES[type]), nested(2, join(dims))]);
  return join([text(1, name), nested(2, nested(1, tensor))]);
}
