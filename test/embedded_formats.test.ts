// Answers of the embedded model in a form that was asked for, whatever it would rather say.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { defaultModel } from "../src/cli/model.ts";
import { type AnswerFormat, FastVLM, type Result } from "../src/node.ts";
import { resultOf } from "./answers.ts";

/** Answers to make; a thousand take some minutes. */
const COUNT = process.env.FASTVLM_FULL === undefined ? 40 : 1000;
const BATCH = 8;
const vlm = await FastVLM.load(defaultModel());
after(() => vlm.close());

const folder = new URL("eval/images/", import.meta.url);
const PICTURES = readdirSync(folder)
  .filter((name) => name.startsWith("picture-"))
  .map((name) => fileURLToPath(new URL(name, folder)));

const place = { enum: ["top", "middle", "bottom"] };
const thing = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 12 },
    place,
    count: { type: "integer", minimum: 1, maximum: 9 },
  },
  required: ["name", "place"],
  additionalProperties: false,
};
/** Bounded, so that every answer ends. */
const SCHEMAS: Readonly<Record<string, { readonly [keyword: string]: unknown }>> = {
  things: {
    type: "object",
    properties: { things: { type: "array", items: thing, minItems: 1, maxItems: 2 } },
    required: ["things"],
    additionalProperties: false,
  },
  word: {
    type: "object",
    properties: {
      word: { anyOf: [{ type: "string", pattern: "^[A-Z]{2,8}$" }, { type: "null" }] },
      sure: { type: "number", minimum: 0, exclusiveMaximum: 2 },
    },
    required: ["word"],
    additionalProperties: false,
  },
  list: {
    type: "array",
    prefixItems: [{ type: "boolean" }],
    items: { type: ["string", "integer"], minimum: -20, maximum: 99, maxLength: 6 },
    minItems: 1,
    maxItems: 4,
  },
  either: {
    oneOf: [
      {
        type: "object",
        properties: { kind: { const: "text" }, text: { type: "string", maxLength: 20 } },
        required: ["kind", "text"],
        additionalProperties: false,
      },
      {
        type: "object",
        properties: { kind: { const: "shape" }, where: place, when: { type: "string", format: "date" } },
        required: ["kind", "where"],
        additionalProperties: false,
      },
    ],
  },
};

/** Answers of all seeds, some at a time. */
async function answers(count: number, ask: (seed: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (let seed = 0; seed < count; seed += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - seed) }, (_, i) => ask(seed + i));
    results.push(...(await Promise.all(batch)));
  }
  return results;
}

const ask = (seed: number, format: AnswerFormat, maxTokens: number): Promise<Result> => {
  const images = [PICTURES[seed % PICTURES.length]!];
  return resultOf(vlm.generate({ images, prompt: "Describe the picture.", temperature: 1, seed, maxTokens, format }));
};

test(`${COUNT} answers about pictures, at temperature 1, are valid by their schemas`, async () => {
  const ajv = new Ajv2020({ strict: false, formats: { date: /^\d{4}-\d\d-\d\d$/ } });
  const schemas = Object.entries(SCHEMAS);
  for (const [i, [name, schema]] of schemas.entries()) {
    const validate = ajv.compile(schema);
    const count = Math.ceil(COUNT / schemas.length);
    const results = await answers(count, (seed) => ask(i * count + seed, { type: "json_schema", schema }, 600));
    for (const { text, finishReason } of results) {
      assert.equal(finishReason, "stop", `${name}: ${text}`);
      assert.ok(validate(JSON.parse(text)), `${name}: ${text}: ${ajv.errorsText(validate.errors)}`);
    }
    assert.ok(new Set(results.map(({ text }) => text)).size > count / 4, `${name}: too few different answers`);
  }
});

test("regular expressions match as a whole; choices are one of the texts", async () => {
  const pattern = "(A|An|The) [a-z]{3,9}( at the (top|bottom))?\\.";
  for (const { text } of await answers(BATCH, (seed) => ask(seed, { type: "regex", pattern }, 60))) {
    assert.match(text, new RegExp(`^(?:${pattern})$`, "u"));
  }
  const choices = ["a fruit", "an animal", "something else"];
  for (const { text } of await answers(BATCH, (seed) => ask(seed, { type: "choice", choices }, 60))) {
    assert.ok(choices.includes(text), text);
  }
});

test("answers with and without a form overlap, and each is as alone", async () => {
  const request = { prompt: "Is there a picture?", images: PICTURES.slice(0, 3), maxTokens: 60 };
  const formats: (AnswerFormat | undefined)[] = [
    { type: "choice", choices: ["Yes", "No"] },
    { type: "regex", pattern: "[0-9]{3}-[a-f]{2}" },
    { type: "json_schema", schema: SCHEMAS.word! },
    undefined,
  ];
  const all = formats.map((format, seed) => ({ ...request, format, ...(seed > 1 && { temperature: 1, seed }) }));
  const together = await Promise.all(all.map((one) => resultOf(vlm.generate(one))));
  for (const [i, one] of all.entries()) {
    assert.deepEqual((await resultOf(vlm.generate(one))).tokens, together[i]!.tokens);
  }
});
