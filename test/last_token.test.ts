// A prompt's hidden state is that of its last token, and its cache that of all, however little of the last layer is computed.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { nmse } from "../kernels/case.ts";
import type { Decoder } from "../src/models/decoder/decoder.ts";
import { nodeFolder } from "../src/node/folder.ts";
import { assemble, openParts } from "../src/pipeline/assemble.ts";
import { golden } from "./answers.ts";
import { gpu } from "./gpu.ts";

/** Lengths of the parts that a prompt is read in: at once, in two parts, with a last part of one token. */
const PARTS = [[33], [20, 13], [32, 1]];

for (const name of ["qwen2_tiny", "phi4_mini_tiny"]) {
  describe(name, async () => {
    const parts = await openParts({ language: await nodeFolder(golden(`models/${name}`)) });
    const { model, weights } = assemble(gpu, parts, "f32");
    for (const w of weights) await w.load();
    after(() => {
      for (const w of weights) w.release();
    });
    for (const lengths of PARTS) {
      test(`in parts of ${lengths.join(" and ")} tokens`, async () => {
        const want = await read(model.decoder, lengths, false);
        const got = await read(model.decoder, lengths, true);
        assert.ok(nmse(got.last, want.last) < 1e-11);
        assert.ok(nmse(got.next, want.next) < 1e-11, "what a token after it sees");
      });
    }
  });
}

/** The last hidden state of a prompt, and of one token more, which looks at all that is cached. */
async function read(decoder: Decoder, lengths: readonly number[], short: boolean) {
  const total = lengths.reduce((a, b) => a + b);
  const cache = decoder.cache(total + 1, "f32");
  decoder.rope.table(total + 1);
  const ids = gpu.upload(
    [total + 1],
    "u32",
    Uint32Array.from({ length: total + 1 }, (_, i) => (i * 37 + 5) % 400),
  );
  let from = 0;
  let last = gpu.empty([1, 1], "f32");
  for (const tokens of lengths) {
    gpu.release(last);
    const [first, end] = [from, from + tokens];
    last = gpu.scope(() => {
      const some = gpu.empty([tokens], "u32");
      gpu.copy(ids.rows(first, end), some);
      const x = decoder.embed(some);
      if (short) return gpu.keep(decoder.last(x, cache, total + 1));
      const h = decoder.forward(x, cache, total + 1);
      const row = h.like([1, h.shape[1]!]);
      gpu.copy(h.rows(tokens - 1, tokens), row);
      return gpu.keep(row);
    });
    from = end;
  }
  const next = gpu.scope(() => {
    const some = gpu.empty([1], "u32");
    gpu.copy(ids.rows(total, total + 1), some);
    return gpu.keep(decoder.forward(decoder.embed(some), cache, total + 1));
  });
  const result = { last: await gpu.read(last), next: await gpu.read(next) };
  for (const tensor of [ids, last, next]) gpu.release(tensor);
  cache.free();
  return result;
}
