import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { CheckpointError, InputError } from "../src/errors.ts";
import { shownAddress } from "../weights/address.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { Folder } from "../weights/folder.ts";
import { httpFolder } from "../weights/http_folder.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { WINDOW_BYTES } from "../weights/windows.ts";

const small = encodeSafetensors({
  "a.weight": { dtype: "F32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
  "b.bias": { dtype: "F16", shape: [3], data: Uint16Array.of(0x3c00, 0x4000, 0x4200) },
});

describe("folders on a web server", () => {
  const files: Record<string, Uint8Array> = {
    "config.json": new TextEncoder().encode("{}"),
    "model.safetensors": small,
  };

  async function serve(listener: RequestListener, use: (folder: Folder, requests: string[]) => Promise<void>) {
    const requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url} ${request.headers.range ?? ""}`.trim());
      listener(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const folder = httpFolder(`http://127.0.0.1:${port}/models/tiny/?token=secret`, {
      timeoutSeconds: 0.2,
      retryDelays: [1],
      headers: { authorization: "Bearer x" },
    });
    try {
      await use(folder, requests);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  const find = (url = "") => files[new URL(url, "http://x").pathname.replace("/models/tiny/", "")];

  const ranged: RequestListener = (request, response) => {
    const bytes = find(request.url);
    if (!bytes) return response.writeHead(404).end();
    const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "") ?? [];
    if (from === undefined) return response.end(bytes);
    const part = bytes.subarray(Number(from), to ? Number(to) + 1 : undefined);
    response.writeHead(206, { "content-range": `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}` });
    return response.end(part);
  };

  test("reads by range, and keeps the query", async () => {
    await serve(ranged, async (folder, requests) => {
      const checkpoint = await openCheckpoint(folder);
      assert.deepEqual(await checkpoint.readF32("a.weight"), Float32Array.of(1, 2, 3, 4));
      assert.ok(requests.includes(`GET /models/tiny/model.safetensors?token=secret bytes=0-${small.length - 1}`));
      assert.ok(!folder.name.includes("secret"));
    });
  });

  const large = Uint8Array.from({ length: 5.5 * WINDOW_BYTES }, (_, i) => (i * 31) >> 4);
  files["large.bin"] = large;
  const rangesOf = (requests: readonly string[]) => requests.flatMap((request) => /bytes=\S+/.exec(request) ?? []);
  const window = (index: number) =>
    `bytes=${index * WINDOW_BYTES}-${Math.min((index + 1) * WINDOW_BYTES, large.length) - 1}`;

  test("a file that shrinks between two requests ends early, and ranges at once are cut from a whole file", async () => {
    const size = 2 * WINDOW_BYTES;
    const replaced: RequestListener = ({ headers: { range = "" } }, response) => {
      if (range === "bytes=0-0") return response.writeHead(206, { "content-range": `bytes 0-0/${size}` }).end("x");
      const [, from] = /bytes=(\d+)-/.exec(range)!;
      if (from === "0") return response.writeHead(200).end(Buffer.alloc(1000));
      return response.writeHead(206).end(Buffer.alloc(WINDOW_BYTES));
    };
    await serve(replaced, async (folder) => {
      await folder.size("a.bin");
      await assert.rejects(folder.read("a.bin", WINDOW_BYTES - 10, WINDOW_BYTES + 10), /truncated|ends|bytes/);
    });
    await serve(
      (_, response) => response.writeHead(200).end(Buffer.alloc(100_000)),
      async (folder) => {
        const reads = [0, 1, 2].map((i) => folder.read("a.bin", 10 * i, 10 * i + 10));
        assert.deepEqual(
          (await Promise.all(reads)).map(({ length }) => length),
          [10, 10, 10],
        );
      },
    );
  });

  test("short ranges come from windows, kept until close", async () => {
    await serve(ranged, async (folder, requests) => {
      const read = async (start: number, end: number) => {
        const into = new Uint8Array(WINDOW_BYTES).fill(7);
        const got = await folder.read("large.bin", start, end, { into });
        assert.equal(got.buffer, into.buffer);
        assert.equal(Buffer.compare(got, large.subarray(start, end)), 0);
        assert.ok(into.subarray(end - start).every((byte) => byte === 7));
        const copy = await folder.read("large.bin", start, end);
        assert.equal(Buffer.compare(copy, got), 0);
        copy.fill(0);
        return rangesOf(requests.splice(0));
      };
      await folder.size("large.bin");
      await folder.close();
      requests.length = 0;
      assert.deepEqual(await read(10, 20), [window(0)]);
      assert.deepEqual(await read(0, 8000), []);
      assert.deepEqual(await read(WINDOW_BYTES - 5, WINDOW_BYTES + 5), [window(1)]);
      assert.deepEqual(await read(2 * WINDOW_BYTES - 5, 3 * WINDOW_BYTES - 6), [window(2)]);
      assert.deepEqual(await read(5 * WINDOW_BYTES + 1, large.length), [window(5)]);
      assert.deepEqual(await read(0, WINDOW_BYTES), [`bytes=0-${WINDOW_BYTES - 1}`, `bytes=0-${WINDOW_BYTES - 1}`]);
      // A fifth window takes the place of the one used longest ago.
      assert.deepEqual(await read(3 * WINDOW_BYTES, 3 * WINDOW_BYTES + 1), [window(3)]);
      assert.deepEqual(await read(WINDOW_BYTES, WINDOW_BYTES + 1), []);
      assert.deepEqual(await read(0, 1), [window(0)]);
      await folder.close();
      assert.deepEqual(await read(0, 1), [window(0)]);
    });
  });

  /** A server that answers reads when told to. `next` waits for a read and gives the function that answers it with a status. */
  function heldServer() {
    const waiting = new EventEmitter();
    const listener: RequestListener = (request, response) => {
      if (request.headers.range === "bytes=0-0") return ranged(request, response);
      response.on("close", () => waiting.emit("close"));
      const answer = (status: number) => {
        return status === 206 ? ranged(request, response) : response.writeHead(status).end();
      };
      return waiting.emit("read", answer);
    };
    const next = async (): Promise<(status: number) => void> => (await once(waiting, "read"))[0];
    return { listener, next, closed: () => once(waiting, "close") };
  }

  test("reads of one window share its request, but not an abort or a failure of another", async () => {
    const { listener, next } = heldServer();
    await serve(listener, async (folder, requests) => {
      await folder.size("large.bin");
      const controller = new AbortController();
      const reason = new Error("enough");
      let asked = next();
      const aborted = assert.rejects(folder.read("large.bin", 0, 9, { signal: controller.signal }), reason);
      const stays = folder.read("large.bin", 9, 18);
      const answer = await asked;
      controller.abort(reason);
      await aborted;
      answer(206);
      assert.deepEqual(await stays, large.slice(9, 18));
      assert.deepEqual(rangesOf(requests), ["bytes=0-0", window(0)]);

      asked = next();
      const fails = assert.rejects(folder.read("large.bin", WINDOW_BYTES, WINDOW_BYTES + 9), /got 403/);
      const shares = folder.read("large.bin", WINDOW_BYTES + 9, WINDOW_BYTES + 18);
      const refuse = await asked;
      asked = next();
      refuse(403);
      await fails;
      (await asked)(206);
      assert.deepEqual(await shares, large.slice(WINDOW_BYTES + 9, WINDOW_BYTES + 18));
    });
  });

  test("a window whose readers have all gone is given up and fetched anew", async () => {
    const { listener, next, closed } = heldServer();
    await serve(listener, async (folder) => {
      await folder.size("large.bin");
      const controller = new AbortController();
      const reason = new Error("enough");
      let asked = next();
      const ended = closed();
      const alone = assert.rejects(folder.read("large.bin", 0, 9, { signal: controller.signal }), reason);
      await asked;
      controller.abort(reason);
      await alone;
      asked = next();
      const again = folder.read("large.bin", 0, 9);
      await ended;
      (await asked)(206);
      assert.deepEqual(await again, large.slice(0, 9));
    });
  });

  test("works without ranges, downloading each small file once", async () => {
    const whole: RequestListener = (request, response) => {
      const bytes = find(request.url);
      return bytes
        ? response.writeHead(200, { "content-length": bytes.length }).end(bytes)
        : response.writeHead(404).end();
    };
    await serve(whole, async (folder) => {
      const checkpoint = await openCheckpoint(folder);
      assert.deepEqual(await checkpoint.readF32("b.bias"), Float32Array.of(1, 2, 3));
      assert.deepEqual(await checkpoint.readF32("a.weight"), Float32Array.of(1, 2, 3, 4));
    });
  });

  test("a start page in place of a missing file counts as absent", async () => {
    for (const status of [200, 206]) {
      const pages: RequestListener = (_, response) => {
        const headers = { "content-type": "text/html; charset=utf-8", "content-range": "bytes 0-0/6" };
        response.writeHead(status, headers).end("<html>");
      };
      await serve(pages, async (folder) => {
        assert.equal(await folder.size("config.json"), undefined);
        await assert.rejects(folder.read("config.json", 0, 1), /config.json is missing/);
      });
    }
  });

  test("403 means absent once a file came, also after close", async () => {
    const store: RequestListener = (request, response) =>
      find(request.url) ? ranged(request, response) : response.writeHead(403).end();
    await serve(store, async (folder) => {
      await assert.rejects(folder.size("absent.json"), /got 403/);
      assert.equal(await folder.size("config.json"), 2);
      assert.equal(await folder.size("absent.json"), undefined);
      await folder.close();
      assert.equal(await folder.size("absent.json"), undefined);
    });
  });

  test("without Content-Range the size comes from HEAD, of the file as it is", async () => {
    let sized = true;
    const hidden: RequestListener = (request, response) => {
      if (request.method !== "HEAD") return response.writeHead(206).end(small.subarray(0, 1));
      // Without a range, browsers get a compressed answer.
      const plain = request.headers.range === "bytes=0-";
      const length = { "content-length": plain ? small.length : 5 };
      return response.writeHead(plain ? 206 : 200, sized ? length : {}).end();
    };
    await serve(hidden, async (folder) => {
      assert.equal(await folder.size("model.safetensors"), small.length);
      await folder.close();
      sized = false;
      await assert.rejects(folder.size("model.safetensors"), (error: unknown) => {
        return error instanceof CheckpointError && /expected its size in .* got neither/.test(error.message);
      });
    });
  });

  test("retries what may pass", async () => {
    let failures = 1;
    const flaky: RequestListener = (request, response) => {
      if (failures-- > 0) return response.writeHead(503).end();
      return ranged(request, response);
    };
    await serve(flaky, async (folder) => assert.equal(await folder.size("model.safetensors"), small.length));
  });

  test("waits as long as Retry-After says, up to 30 s", async (context) => {
    const hour = new Date(Date.now() + 3_600_000).toUTCString();
    const answers = ["20", hour, "0", "soon"].map((text) => {
      return new Response(null, { status: 429, headers: { "retry-after": text } });
    });
    const busy = async () => answers.shift() ?? new Response("{}", { headers: { "content-length": "2" } });
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const pass = async (ms: number) => {
      context.mock.timers.tick(ms);
      await new Promise(setImmediate);
      return answers.length;
    };
    const size = httpFolder("http://127.0.0.1:9/", { fetch: busy, retryDelays: [1, 2, 3, 4] }).size("config.json");
    let left = await pass(0);
    for (const ms of [20_000, 30_000, 3]) {
      assert.equal(await pass(ms - 1), left);
      assert.equal(await pass(1), --left);
    }
    await pass(4);
    assert.equal(await size, 2);
  });

  test("an abort ends what is under way, and the wait before another try", async () => {
    const reason = new Error("enough");
    let controller = new AbortController();
    const aborts = async (use: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
      controller = new AbortController();
      await assert.rejects(use(controller.signal), reason);
    };
    let left = 0;
    const silent: RequestListener = (request) => {
      request.on("close", () => left++);
      controller.abort(reason);
    };
    await serve(silent, async (folder, requests) => {
      await aborts((signal) => folder.size("config.json", { signal }));
      await aborts((signal) => folder.read("config.json", 0, 9, { signal }));
      while (left < 2) await new Promise((resolve) => setTimeout(resolve, 1));
      assert.equal(requests.length, 2);
    });
    const patient = httpFolder("http://127.0.0.1:9/", { retryDelays: [60_000] });
    const started = performance.now();
    await aborts((signal) => {
      setTimeout(() => controller.abort(reason), 20);
      return patient.size("config.json", { signal });
    });
    assert.ok(performance.now() - started < 10_000);
  });

  test("errors show no credentials and no query", async () => {
    const quiet = (error: unknown): boolean => error instanceof Error && !inspect(error).includes("secret");
    for (const address of ["http://me:secret@127.0.0.1:9/m?token=secret", "http://127.0.0.1:9/m?token=secret#secret"]) {
      await assert.rejects(httpFolder(address, { retryDelays: [] }).size("config.json"), quiet);
    }
    for (const address of ["ftp://me:secret@x/m?token=secret", "http://me:secret@[x?token=secret"]) {
      assert.throws(() => httpFolder(address), quiet);
    }
    assert.equal(shownAddress("https://me:secret@x:8000/a/b.mp4?c#d"), "https://x:8000/a/b.mp4");
    assert.equal(shownAddress("data:video/mp4;base64,secret"), "data:video/mp4,…");
  });

  test("refusals, broken bodies, silence and closed ports are typed errors", async () => {
    const denied: RequestListener = (_, response) => response.writeHead(403).end();
    await serve(denied, async (folder) => {
      await assert.rejects(folder.size("config.json"), (error: unknown) => {
        return (
          error instanceof CheckpointError && /got 403/.test(error.message) && /credentials/.test(error.hint ?? "")
        );
      });
    });
    const broken: RequestListener = (_, response) => {
      response.writeHead(206, { "content-length": 100, "content-range": "bytes 0-99/100" });
      response.write(new Uint8Array(10));
      setTimeout(() => response.destroy(), 5);
    };
    await serve(broken, async (folder) => {
      await assert.rejects(folder.read("model.safetensors", 0, 100), CheckpointError);
    });
    const short: RequestListener = (_, response) => response.writeHead(206).end(new Uint8Array(10));
    await serve(short, async (folder) => {
      await assert.rejects(folder.read("model.safetensors", 0, 100), /truncated: expected at least 100 bytes, got 10/);
    });
    const silent: RequestListener = () => {};
    await serve(silent, async (folder) => {
      await assert.rejects(folder.read("model.safetensors", 0, 100), /nothing arrived for 0.2 s/);
      const reason = new Error("enough");
      await assert.rejects(folder.read("model.safetensors", 0, 9, { signal: AbortSignal.abort(reason) }), reason);
    });
    const closed = httpFolder("http://127.0.0.1:9/", { timeoutSeconds: 0.2, retryDelays: [] });
    await assert.rejects(closed.size("config.json"), CheckpointError);
    assert.throws(() => httpFolder("ftp://x/y"), InputError);
  });
});
