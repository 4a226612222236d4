import assert from "node:assert/strict";
import { test } from "node:test";
import { ImageCache } from "../src/pipeline/image_cache.ts";
import { gpu } from "./gpu.ts";

const tokens = () => gpu.empty([4, 8], "f32");

test("image tokens are kept while they fit, the least recently used going first", () => {
  const cache = new ImageCache(gpu, 2 * 4 * 4 * 8);
  for (const key of ["a", "b", "c"]) {
    cache.add(key, tokens());
    cache.release(key);
  }
  assert.equal(cache.acquire("a"), undefined);
  assert.ok(cache.acquire("b"));
  assert.ok(cache.acquire("c"));
});

test("tokens of a look that failed are not given out again, and their memory is free", () => {
  const cache = new ImageCache(gpu, 2 ** 20);
  const { used } = gpu.memory;
  cache.add("picture", tokens());
  cache.forget("picture");
  cache.release("picture"); // by the answer that failed
  assert.equal(cache.acquire("picture"), undefined);
  assert.equal(cache.bytes, 0);
  assert.equal(gpu.memory.used, used);
});
