// What a GPU refuses: whoever it was for hears of it, nobody takes what was never computed for a result, and all goes on.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { swiglu } from "../kernels/swiglu.ts";
import { DeviceLostError, GpuError } from "../src/errors.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { Guard } from "../src/gpu/guard.ts";
import { Memory } from "../src/gpu/memory.ts";
import { decoderConfig } from "../src/models/decoder/config.ts";
import { KvCache } from "../src/models/decoder/kv_cache.ts";
import { RopeTables } from "../src/models/decoder/rope.ts";
import { openNodeGpu } from "../src/node/adapter.ts";
import { FastVLM } from "../src/node.ts";
import { Picture } from "../src/pipeline/picture.ts";
import { Trace } from "../src/pipeline/trace.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { golden, resultOf } from "./answers.ts";

const gpu = await openNodeGpu();
after(() => gpu.close());

/** Has the device refuse the `nth` buffer from now on, 0 for none. Returns how many have been asked for. */
function refuse({ device }: Gpu, nth: number): () => number {
  let count = 0;
  Object.defineProperty(device, "createBuffer", {
    configurable: true,
    value(this: GPUDevice, descriptor: GPUBufferDescriptor) {
      const size = ++count === nth ? 2 ** 50 : descriptor.size;
      return Object.getPrototypeOf(this).createBuffer.call(this, { ...descriptor, size });
    },
  });
  return () => count;
}

/** A pass of sixty-four gates of one. */
const gates = async (): Promise<number> => {
  const x = gpu.upload([1, 128], "f32", new Float32Array(128).fill(1));
  try {
    const y = gpu.scope(() => swiglu(x));
    const [first] = await gpu.read(y).finally(() => gpu.release(y));
    return first!;
  } finally {
    gpu.release(x);
  }
};
const expected = 1 / (1 + Math.exp(-1));

test("memory that was refused serves nobody again", async () => {
  assert.ok(Math.abs((await gates()) - expected) < 1e-6);
  const { used } = gpu.memory;
  gpu.trim();
  for (const nth of [1, 2]) {
    const asked = refuse(gpu, nth);
    await assert.rejects(gates(), GpuError);
    for (let i = 0; i < 3; i++) assert.ok(Math.abs((await gates()) - expected) < 1e-6);
    assert.ok(asked() > nth);
    refuse(gpu, 0);
    gpu.trim();
  }
  assert.equal(gpu.memory.used, used);
  assert.equal(gpu.memory.allocated, used);
});

test("a failure is thrown to all that wait, whoever hears of it first, and to nobody later", async () => {
  const x = gpu.upload([4], "f32", new Float32Array(4));
  const reads = [gpu.read(x), gpu.settled()];
  gpu.device?.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE });
  assert.throws(() => gpu.empty([1], "f32"), GpuError);
  for (const read of reads) await assert.rejects(read, GpuError);
  assert.deepEqual([...(await gpu.read(x))], [0, 0, 0, 0]);
  gpu.release(x);
});

test("what a lost device rejects is a loss, also where the device tells so a moment later", async () => {
  const lost = Promise.withResolvers<GPUDeviceLostInfo>();
  const device = { lost: lost.promise } as unknown as GPUDevice;
  const guard = new Guard(device, new Memory(null, 1), null);
  const waiting = guard.wait(Promise.reject(new Error("gone")), 0, "reading");
  setTimeout(() => lost.resolve({ reason: "unknown", message: "gone" } as GPUDeviceLostInfo), 1);
  await assert.rejects(waiting, DeviceLostError);
  const present = { lost: new Promise(() => undefined) } as unknown as GPUDevice;
  const cause = new Error("mapped twice");
  const other = new Guard(present, new Memory(null, 1), null).wait(Promise.reject(cause), 0, "reading");
  await assert.rejects(other, (error) => error instanceof GpuError && error.cause === cause);
});

test("what is submitted in vain gives no result", async () => {
  const x = gpu.upload([4], "f32", new Float32Array(4));
  const stray = gpu.device!.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
  gpu.copy(x, { ...x, block: { ...x.block, buffer: stray } } as unknown as Tensor);
  stray.destroy();
  await assert.rejects(gpu.read(x), GpuError);
  assert.deepEqual([...(await gpu.read(x))], [0, 0, 0, 0]);
  gpu.release(x);
});

test("a tensor is released once", () => {
  const x = gpu.empty([4], "f32");
  gpu.release(x);
  assert.throws(() => gpu.release(x), /released twice/);
});

test("pixels that the GPU resized are made again after a failure, which may have been theirs", async () => {
  let loads = 0;
  const load = async (): Promise<Tensor> => {
    loads++;
    return gpu.empty([4], "u32");
  };
  const picture = new Picture({ content: async () => "key", load }, { side: 64 }, 1);
  assert.equal(await picture.pixels(), await picture.pixels());
  assert.equal(loads, 1);
  gpu.device?.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE });
  assert.throws(() => gpu.flush(), GpuError);
  await picture.pixels();
  assert.equal(loads, 2);
  picture.dropPixels();
});

describe("memory that ends midway", () => {
  const config = decoderConfig({
    model_type: "qwen2",
    vocab_size: 64,
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    max_position_embeddings: 4096,
  });

  test("a cache that grows keeps all its layers, each once", async () => {
    gpu.trim();
    const { used } = gpu.memory;
    for (let nth = 1; nth <= 6; nth++) {
      const cache = new KvCache(gpu, config, 256, "f32");
      refuse(gpu, nth);
      assert.throws(() => {
        cache.reserve(300);
        gpu.flush();
      }, GpuError);
      refuse(gpu, 0);
      cache.free();
      assert.equal(gpu.memory.used, used);
      cache.reserve(300);
      await gpu.settled();
      cache.free();
      gpu.trim();
    }
  });

  test("a failure of others loses nothing of a cache that grows", async () => {
    gpu.trim();
    const cache = new KvCache(gpu, config, 256, "f32");
    const { keys } = cache.layer(2);
    const known = Float32Array.from({ length: 256 * 64 }, (_, i) => i % 97);
    gpu.write(keys, 0, new Uint8Array(known.buffer));
    cache.length = 256;
    cache.reserve(300);
    gpu.device?.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE });
    assert.throws(() => gpu.empty([1], "f32"), GpuError);
    assert.deepEqual((await gpu.read(cache.layer(2).keys)).subarray(0, known.length), known);
    cache.free();
  });

  test("a table of rotary positions that may not be there is made again, not within a pass", async () => {
    const { used } = gpu.memory;
    const rope = new RopeTables(gpu, config);
    const first = rope.table(600, true);
    gpu.device?.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE });
    assert.throws(() => gpu.flush(), GpuError);
    gpu.scope(() => {
      assert.equal(rope.table(600), first);
      return undefined;
    });
    const second = rope.table(600, true);
    assert.notEqual(second, first);
    assert.equal(rope.table(600, true), second);
    assert.equal((await gpu.read(second))[0], 1);
    gpu.release(second);
    assert.equal(gpu.memory.used, used);
  });

  test("a cache that cannot be made leaves nothing behind", () => {
    gpu.trim();
    const { used } = gpu.memory;
    refuse(gpu, 3);
    assert.throws(() => new KvCache(gpu, config, 256, "f32"), GpuError);
    refuse(gpu, 0);
    assert.equal(gpu.memory.used, used);
  });
});

test("a trace that cannot be read is given back once", async () => {
  const { used } = gpu.memory;
  const trace = new Trace(gpu);
  trace.during(() => {
    for (const name of ["one", "one", "two"]) gpu.scope(() => void gpu.mark(name, gpu.empty([4], "f32")));
  });
  const { read } = gpu;
  let reads = 0;
  gpu.read = (tensor) => (++reads === 2 ? Promise.reject(new GpuError("lost")) : read.call(gpu, tensor));
  await assert.rejects(trace.collect(), /lost/);
  gpu.read = read;
  trace.discard();
  assert.equal(gpu.memory.used, used);
});

test("runs that were discarded are not in the profile", async (t) => {
  const own = await openNodeGpu({ profile: true });
  t.after(() => own.close());
  if (!own.profiler) return t.skip("the adapter has no timestamps");
  const x = own.upload([1, 8], "f32", new Float32Array(8));
  const run = (): void => own.scope(() => void swiglu(x));
  run();
  own.device?.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE });
  assert.throws(() => own.flush(), GpuError);
  run();
  await own.settled();
  assert.deepEqual(
    (await own.profiler.report()).map(({ runs }) => runs),
    [1],
  );
});

test("an answer that fails for want of memory is the only one, wherever memory ends", async (t) => {
  const vlm = await FastVLM.load(golden("models/fastvlm_hf"), { dtype: "f32" });
  t.after(() => vlm.close());
  const ask = async () => (await resultOf(vlm.generate({ prompt: "One two three.", maxTokens: 6 }))).text;
  const right = await ask();
  const { used } = vlm.gpu.memory;
  let failed = 0;
  for (let nth = 1; nth <= 40; nth += 3) {
    vlm.gpu.trim();
    refuse(vlm.gpu, nth);
    failed += await ask().then(
      () => 0,
      (error: unknown) => {
        assert.ok(error instanceof GpuError, String(error));
        return 1;
      },
    );
    refuse(vlm.gpu, 0);
    assert.equal(await ask(), right);
    assert.equal(vlm.gpu.memory.used, used);
  }
  assert.ok(failed > 3, `${failed} of 14 failed`);
});
