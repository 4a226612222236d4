import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Answered, answerCase, readCases, scores } from "../bench/accuracy.mts";
import { FastVLM } from "../src/node.ts";
import { assertClose, readTensors, tensorsOf } from "./golden.ts";

const MODEL = fileURLToPath(new URL("../weights/fastvlm-tiny", import.meta.url));
const SET = fileURLToPath(new URL("eval", import.meta.url));
/** Every n-th case of the held-out set; `npm run eval` answers all of them. */
const STRIDE = 8;
/** Of the f32 logits of the goldens. */
const TOLERANCE = { atol: 3e-4, rtol: 1e-4 };

suite("the embedded model sees", () => {
  let vlm: FastVLM;
  before(async () => {
    vlm = await FastVLM.load(MODEL, { dtype: "f32" });
  });
  after(() => vlm.close());

  test("a slice of the held-out set: right answers, and PyTorch's", async () => {
    const cases = (await readCases(SET)).filter((_, i) => i % STRIDE === 0);
    const answered: Answered[] = [];
    for (const each of cases) answered.push(...(await answerCase(vlm, SET, each)));
    const all = scores(answered).at(-1)!;
    const report = answered.filter((turn) => turn.engine !== turn.pytorch);
    assert.ok(all.questions >= 150, `${all.questions} questions`);
    assert.ok(all.asPyTorch / all.questions >= 0.99, JSON.stringify(report, null, 1));
    assert.ok(all.right / all.questions >= 0.96, `${all.right} of ${all.questions} right`);
  });

  test("logits of first tokens are PyTorch's, from the JPEG on", async () => {
    const cases = await readCases(SET);
    const wanted = Object.entries(readTensors("../eval/logits.safetensors"));
    assert.ok(wanted.length >= 16, `${wanted.length} cases`);
    for (const [number, { data }] of wanted) {
      const { images, conversations } = cases[Number(number)]!;
      const paths = images.map((name) => join(SET, name));
      const request = { images: paths, prompt: conversations[0]![0]!.question, maxTokens: 1, trace: true };
      for await (const { result } of vlm.generate(request)) {
        if (!result) continue;
        const { logits } = tensorsOf("trace", result.trace!);
        assertClose(`case ${number}`, logits!.data as Float32Array, data as Float32Array, TOLERANCE);
      }
    }
  });
});
