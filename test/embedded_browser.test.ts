// The library in a page, whole: the embedded model answers there as it does in Node, and in the forms it is asked for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { defaultModel } from "../src/cli/model.ts";
import { type AnswerFormat, FastVLM, type GenerateOptions } from "../src/node.ts";
import { resultOf } from "./answers.ts";
import { openBrowser, openPage } from "./browser/open.ts";

const IMPORTS = {
  "@huggingface/jinja": "/node_modules/@huggingface/jinja/dist/index.js",
  "@huggingface/tokenizers": "/node_modules/@huggingface/tokenizers/dist/tokenizers.mjs",
};
const PAGE = `<!doctype html><link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`;

const PICTURE = "/test/eval/images/picture-000.jpg";
const schema = {
  type: "object",
  properties: { text: { type: "string", maxLength: 4 }, sure: { type: "boolean" } },
  required: ["text", "sure"],
  additionalProperties: false,
};
const ask = (format?: AnswerFormat): GenerateOptions => ({
  images: [PICTURE],
  prompt: "What is in the picture?",
  maxTokens: format ? 100 : 8,
  format,
  ...(format && { temperature: 1, seed: 7 }),
});
const REQUESTS = [
  ask(),
  ask({ type: "json_schema", schema }),
  ask({ type: "regex", pattern: "(A|An) [a-z]{2,4}" }),
  ask({ type: "choice", choices: ["a word", "no word"] }),
];

test("the embedded model in a browser: Node's answer, and valid JSON, regex and choice", async (context) => {
  const opened = await openBrowser(context);
  if (!opened) return;
  const page = await openPage(opened, PAGE);
  const answers = await page.evaluate(async (requests) => {
    const path = "/src/web.ts";
    const library = (await import(path)) as typeof import("../src/web.ts");
    const vlm = await library.FastVLM.load("/weights/fastvlm-tiny", { dtype: "f32" });
    const answer = async (request: (typeof requests)[number]): Promise<string> => {
      let text = "";
      for await (const piece of vlm.generate(request)) text += piece.text;
      return text;
    };
    const texts = await Promise.all(requests.map(answer));
    vlm.close();
    return texts;
  }, REQUESTS);

  using vlm = await FastVLM.load(defaultModel(), { dtype: "f32" });
  const images = [fileURLToPath(new URL(`..${PICTURE}`, import.meta.url))];
  assert.equal(answers[0], (await resultOf(vlm.generate({ ...REQUESTS[0]!, images }))).text);
  const { text, sure } = JSON.parse(answers[1]!) as { text: string; sure: boolean };
  assert.deepEqual([typeof text, typeof sure], ["string", "boolean"]);
  assert.ok([...text].length <= 4, text);
  assert.match(answers[2]!, /^(A|An) [a-z]{2,4}$/);
  assert.ok(["a word", "no word"].includes(answers[3]!), answers[3]);
});
