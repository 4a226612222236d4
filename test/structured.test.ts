import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { pcg4d } from "../kernels/sample.ref.ts";
import { InputError } from "../src/errors.ts";
import { Sampler } from "../src/pipeline/sampling.ts";
import { type AnswerFormat, constrain } from "../src/pipeline/structured.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { GOLDEN } from "./golden.ts";
import { gpu } from "./gpu.ts";
import { randomFrom } from "./mutate.ts";

const file = new URL("models/fastvlm_hf/tokenizer.json", GOLDEN);
const tokenizer = new Tokenizer({ "tokenizer.json": readFileSync(file, "utf8") });
const STOP = tokenizer.idOf("<|im_end|>")!;
const stopTokens = new Set([STOP]);
const SIZE = tokenizer.vocabSize;

/** A model that says anything: the same logits at every step, with a taste for ends. */
const LOGITS = Float32Array.from({ length: SIZE }, (_, id) => {
  const ends = id === STOP ? 3 : /["\]}]$/.test(tokenizer.decode([id])) ? 4 : 0;
  return 2 * Math.sin(id * 12.9) + ends;
});

type Choose = (mask: Uint32Array<ArrayBuffer>, step: number) => number | Promise<number>;

/** Draws an answer; undefined where it has not ended by itself. */
async function answer(format: AnswerFormat, choose: Choose, maxTokens = 200): Promise<string | undefined> {
  const constraint = await constrain(format, tokenizer, stopTokens);
  const ids: number[] = [];
  while (!constraint.done && ids.length < maxTokens) {
    const token = await choose(constraint.mask()!, ids.length);
    constraint.accept(token);
    ids.push(token);
  }
  return constraint.done ? tokenizer.decode(ids) : undefined;
}

/** As the sampler chooses, on the CPU. */
const onHost =
  (seed: number): Choose =>
  (mask, step) => {
    let [best, highest] = [-1, Number.NEGATIVE_INFINITY];
    for (let id = 0; id < SIZE; id++) {
      if (((mask[id >>> 5]! >>> (id & 31)) & 1) === 0) continue;
      const score = LOGITS[id]! / 1.5 - Math.log(-Math.log1p(-(pcg4d(id, step, seed, 0) + 0.5) / 2 ** 32));
      if (score > highest) [best, highest] = [id, score];
    }
    return best;
  };

/** Answers to many seeds; those that ended by themselves. */
async function answers(format: AnswerFormat, count: number): Promise<string[]> {
  const texts: string[] = [];
  for (let seed = 0; seed < count; seed++) {
    const text = await answer(format, onHost(seed));
    if (text !== undefined) texts.push(text);
  }
  return texts;
}

const address = { $ref: "#/$defs/address" };
const SCHEMAS: Readonly<Record<string, { readonly [keyword: string]: unknown }>> = {
  form: {
    type: "object",
    properties: {
      name: { type: "string", minLength: 1, maxLength: 12 },
      age: { type: "integer", minimum: -3, maximum: 120 },
      score: { type: "number", minimum: 0, exclusiveMaximum: 1 },
      home: address,
      'odd "key"\\\n': { type: "boolean" },
    },
    required: ["age", "home"],
    additionalProperties: false,
    $defs: {
      address: { type: "object", properties: { zip: { type: "string", pattern: "^\\d{5}$" } }, required: ["zip"] },
    },
  },
  lists: {
    type: "array",
    prefixItems: [{ type: "null" }, { enum: ["a", 1, { x: [true] }] }],
    items: { type: ["integer", "boolean"], exclusiveMinimum: -2, exclusiveMaximum: 1005 },
    minItems: 1,
    maxItems: 5,
  },
  tree: {
    type: "object",
    properties: {
      value: { type: "integer" },
      left: { $ref: "#" },
      right: { anyOf: [{ $ref: "#" }, { type: "null" }] },
    },
    required: ["value"],
  },
  shapes: {
    oneOf: [
      {
        type: "object",
        properties: { kind: { const: "circle" }, r: { type: "number", exclusiveMinimum: 0 } },
        required: ["kind", "r"],
      },
      {
        type: "object",
        properties: { kind: { const: "box" }, w: { type: "number", minimum: -5, maximum: 5 } },
        required: ["kind", "w"],
      },
      { type: "string", format: "date" },
    ],
  },
  more: {
    type: "object",
    properties: { a: { const: 1 }, ab: { const: 2 } },
    required: ["ab", "z"],
    additionalProperties: { type: "array", items: { type: "string", maxLength: 3 }, maxItems: 2 },
  },
  quotes: { type: "string", pattern: '("|\\\\|\\n|[^a-z]){2,4}' },
  nested: {
    type: "array",
    items: { type: "array", items: { type: "string", maxLength: 2 }, maxItems: 2 },
    minItems: 2,
    maxItems: 3,
  },
  times: { type: "array", items: { type: "string", format: "date-time" }, minItems: 1, maxItems: 2 },
  keys: {
    type: "object",
    properties: { é: { const: 1 }, x: { const: 2 } },
    additionalProperties: { type: "integer", minimum: -15, maximum: 205 },
  },
  negative: { type: "number", exclusiveMinimum: -13, maximum: -7 },
};

test("1,000 answers are valid JSON, by their schemas", async () => {
  const ajv = new Ajv2020({
    strict: false,
    formats: { date: /^\d{4}-\d\d-\d\d$/, "date-time": (text: string) => !Number.isNaN(Date.parse(text)) },
  });
  const perSchema = Math.ceil(1000 / Object.keys(SCHEMAS).length);
  let ended = 0;
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    const validate = ajv.compile(schema);
    const texts = await answers({ type: "json_schema", schema }, perSchema);
    for (const text of texts)
      assert.ok(validate(JSON.parse(text)), `${name}: ${text}: ${ajv.errorsText(validate.errors)}`);
    assert.ok(new Set(texts).size > 4, `${name}: too few different answers`);
    ended += texts.length;
  }
  assert.ok(ended > 950, `${ended} ended by themselves`);
});

test("answers through the sampler, by turns, are the same", async () => {
  const logits = gpu.upload([1, SIZE], "f32", LOGITS);
  const format: AnswerFormat = { type: "json_schema", schema: SCHEMAS.form! };
  const texts = await Promise.all(
    Array.from({ length: 40 }, async (_, seed) => {
      const sampler = new Sampler(gpu, { temperature: 1.5, seed }, { vocabulary: SIZE, columns: SIZE, context: [] });
      const text = await answer(format, async (mask) => {
        sampler.mask(mask);
        return (await gpu.readU32(sampler.choose(logits)))[0]!;
      });
      sampler.free();
      return text;
    }),
  );
  gpu.release(logits);
  assert.deepEqual(
    texts.filter((text) => text !== undefined),
    await answers(format, 40),
  );
});

test("json is an object; maxTokens cuts it off, and nothing else", async () => {
  const texts = await answers({ type: "json" }, 40);
  assert.ok(texts.length > 5);
  for (const text of texts) assert.equal(typeof JSON.parse(text), "object");
  assert.equal(await answer({ type: "json" }, onHost(1), 2), undefined);
});

test("regular expressions match as a whole", async () => {
  const patterns = [
    "[A-Z][a-z]+ (\\d{1,3}|no|[+-]x{2,})",
    "^(?:yes|no)!?$",
    "[^\\s\\w]{3}\\.\\x41\\u{1f600}?[\\]\\-^]*",
    "(a|b?c){2}[é-ü]",
    "\\S.\\D(?<n>q|)",
  ];
  for (const pattern of patterns) {
    const texts = await answers({ type: "regex", pattern }, 30);
    assert.ok(texts.length > 5, pattern);
    for (const text of texts) assert.match(text, new RegExp(`^(?:${pattern})$`, "u"));
  }
});

test("a choice is one of the texts, and each of them comes up", async () => {
  const choices = ["yes", "no", "…maybe", 'say "hi"\\\n'];
  assert.deepEqual([...new Set(await answers({ type: "choice", choices }, 100))].sort(), choices.sort());
});

test("a token that is not allowed, or comes after the end, is refused", async () => {
  const constraint = await constrain({ type: "choice", choices: ["a"] }, tokenizer, stopTokens);
  assert.throws(() => constraint.accept(tokenizer.idOf("b")!), InputError);
  assert.throws(() => constraint.accept(STOP), InputError);
  constraint.accept(tokenizer.idOf("a")!);
  assert.equal(constraint.done, false);
  constraint.accept(STOP);
  assert.equal(constraint.done, true);
  assert.throws(() => constraint.accept(STOP), InputError);
});

test("a large vocabulary leaves others the thread meanwhile, and is prepared once", async () => {
  const json = JSON.parse(readFileSync(file, "utf8"));
  const random = randomFrom(1);
  const letter = (): string => "abcdefghijklmnopqrstuvwxyz"[Math.floor(random() * 26)]!;
  const { vocab } = json.model;
  for (let id = SIZE; id < SIZE + 100_000; id++) vocab[Array.from({ length: 9 }, letter).join("")] ??= id;
  let spelt = 0;
  class Counted extends Tokenizer {
    override bytesOf(id: number): Uint8Array {
      spelt++;
      return super.bytesOf(id);
    }
  }
  const large = new Counted({ "tokenizer.json": JSON.stringify(json) });
  const pattern = { type: "regex", pattern: "[a-m]+" } as const;
  let turns = 0;
  const timer = setInterval(() => turns++);
  const [one, other] = await Promise.all([1, 2].map(() => constrain(pattern, large, stopTokens)));
  clearInterval(timer);
  assert.ok(turns > 2, `${turns} turns`);
  assert.ok(spelt <= large.vocabSize, `${spelt} of ${large.vocabSize}`);
  const mask = one!.mask()!;
  assert.deepEqual(other!.mask(), mask);
  for (let id = 0; id < large.vocabSize; id++) {
    const fits = !large.isSpecial(id) && id !== STOP && /^[a-m]+$/.test(large.decode([id]));
    assert.equal((mask[id >>> 5]! >>> (id & 31)) & 1, fits ? 1 : 0, `token ${id}`);
  }
});

test("many formats at once and again: each answer has its own place", async () => {
  const formats = Array.from({ length: 20 }, (_, i): AnswerFormat => ({ type: "regex", pattern: `x{${i + 1}}` }));
  for (let round = 0; round < 2; round++) {
    const texts = await Promise.all(formats.map((format, i) => answer(format, onHost(i))));
    assert.deepEqual(
      texts,
      formats.map((_, i) => "x".repeat(i + 1)),
    );
  }
});

describe("formats that cannot be kept are refused by name", () => {
  const schema = (keywords: object | boolean | number): AnswerFormat =>
    ({ type: "json_schema", schema: keywords }) as unknown as AnswerFormat;
  const regex = (pattern: string): AnswerFormat => ({ type: "regex", pattern });
  const bad: [AnswerFormat, RegExp][] = [
    [{ type: "yaml" } as unknown as AnswerFormat, /type: expected json, json_schema, regex or choice, got "yaml"/],
    [{ type: "choice", choices: [] }, /choices/],
    [regex("(a"), /regex: .*Unterminated/],
    [regex("a(?=b)"), /look-around is not supported/],
    [regex("(a)\\1"), /\\1 is not supported/],
    [regex("\\bword"), /\\b is not supported/],
    [regex("a^"), /anchor/],
    [regex("a{1,5000}"), /repetition/],
    [regex("(a{1000}){1000}"), /too large/],
    [schema(false), /#: false allows nothing/],
    [schema(3), /#: expected an object of keywords, got 3/],
    [schema({ type: "frob" }), /type: expected null, .* got "frob"/],
    [schema({ type: "array", uniqueItems: true }), /#: keyword uniqueItems is not supported/],
    [schema({ type: "object", properties: { a: { not: {} } } }), /#\/properties\/a: keyword not/],
    [schema({ type: "integer", multipleOf: 5 }), /multipleOf/],
    [schema({ type: "number", minimum: 0.5 }), /minimum: expected an integer/],
    [schema({ type: "integer", minimum: 3, maximum: 2 }), /no number is within/],
    [schema({ type: "string", pattern: "^a$", maxLength: 3 }), /pattern beside lengths/],
    [schema({ type: "string", minLength: 3, maxLength: 2 }), /minLength 3 is above maxLength 2/],
    [schema({ type: "string", enum: [1] }), /none of \[1\] is of type string/],
    [schema({ enum: [] }), /enum: expected a list/],
    [schema({ $ref: "#/$defs/x" }), /nothing at "#\/\$defs\/x"/],
    [schema({ $ref: "other.json" }), /\$ref: expected/],
    [schema({ $ref: "#" }), /contains itself/],
    [schema({ anyOf: [{ $ref: "#" }, { type: "null" }] }), /contains itself/],
    [schema({ oneOf: [{ type: "integer" }, { type: "number" }] }), /oneOf/],
    [schema({ allOf: [{ type: "null" }, {}] }), /allOf/],
    [schema({ type: "object", required: ["a"], additionalProperties: false }), /required: "a" is not in properties/],
    [schema({ type: "array", minItems: 2, prefixItems: [{}], items: false }), /at least 2 items/],
  ];
  for (const [format, message] of bad) {
    test(JSON.stringify(format), async () => {
      const refused = (error: unknown): boolean => error instanceof InputError && message.test(error.message);
      await assert.rejects(constrain(format, tokenizer, stopTokens), refused);
    });
  }
});
