import assert from "node:assert/strict";
import { test } from "node:test";
import { AdapterError } from "../src/errors.ts";
import { openWebGpu } from "../src/web/adapter.ts";
import { type Opened, openBrowser } from "./browser/open.ts";
import type { BrowserCase, BrowserRun } from "./browser/page.ts";
import { serveSources } from "./browser/server.ts";

/** SwiftShader, the adapter of browsers without a GPU, is slow. */
const PAGE_TIMEOUT = 300_000;

test("kernels in a browser", async (context) => {
  const opened = await openBrowser(context);
  if (!opened) return;
  const results = await runPage(opened, (line) => context.diagnostic(line));
  for (const { name, skipped, problem } of results) {
    await context.test(name, { skip: skipped && "not supported by this adapter" }, () =>
      assert.ok(!problem, problem ?? ""),
    );
  }
});

async function runPage({ browser, path, origin }: Opened, say: (line: string) => void): Promise<BrowserCase[]> {
  const results: BrowserCase[] = [];
  const log: string[] = [];
  const page = await browser.newPage();
  page.on("pageerror", (error) => log.push(String(error)));
  page.on("console", (message) => message.type() === "error" && log.push(message.text()));
  page.on("crash", () => log.push("the page crashed"));
  page.on("response", (response) => response.ok() || log.push(`${response.url()}: HTTP ${response.status()}`));
  await page.exposeFunction("reportCase", (result: BrowserCase) => void results.push(result));
  await page.goto(`${origin}/test/browser/index.html`);
  const run = await Promise.race([
    page.evaluate(() => globalThis.kernelRun),
    new Promise<"timeout">((resolve) => setTimeout(resolve, PAGE_TIMEOUT, "timeout").unref()),
  ]).catch((error) => assert.fail(`${error}\n${log.join("\n")}`));
  if (run === "timeout") {
    assert.fail(`the page ran ${results.length} cases in ${PAGE_TIMEOUT / 1000} s, the last: ${results.at(-1)?.name}`);
  }
  assert.ok(run, `the page did not load:\n${log.join("\n")}`);
  say(summary(run, path, results));
  assert.equal(results.length, run.cases, "every case is reported");
  assert.ok(run.cases > 0, "there are cases");
  return results;
}

function summary(run: BrowserRun, path: string, results: readonly BrowserCase[]): string {
  const skipped = results.filter((result) => result.skipped).length;
  const failed = results.filter((result) => result.problem !== null).length;
  const version = `${path}, adapter ${run.adapter}`;
  return `${version}: ${run.cases - skipped - failed} passed, ${failed} failed, ${skipped} skipped`;
}

test("the source server serves what lies in the repository, and nothing else", async () => {
  const server = await serveSources();
  try {
    const get = async (path: string) => fetch(server.origin + path);
    const module = await get("/src/errors.ts");
    assert.match(module.headers.get("content-type") ?? "", /^text\/javascript/);
    assert.doesNotMatch(await module.text(), /readonly hint/);
    const shader = await get("/shaders/rms_norm.wgsl");
    assert.match(shader.headers.get("content-type") ?? "", /^text\/plain/);
    assert.equal((await get("/src/none.ts")).status, 404);
    assert.equal((await get("/src")).status, 403);
    assert.equal((await get("/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd")).status, 403);
    assert.equal((await get("/%E0%A4")).status, 400);
    assert.equal((await fetch(server.origin, { method: "POST" })).status, 405);
  } finally {
    await server.close();
  }
});

test("openWebGpu says what is missing", async () => {
  const before = Object.getOwnPropertyDescriptor(navigator, "gpu");
  const provide = (gpu: unknown) => Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  const open = () => openWebGpu({ profile: false });
  try {
    provide(undefined);
    await assert.rejects(open, (error) => error instanceof AdapterError && /current Chrome/.test(error.hint ?? ""));
    provide({ requestAdapter: async () => null });
    await assert.rejects(open, (error) => error instanceof AdapterError && /graphics driver/.test(error.hint ?? ""));
  } finally {
    if (before) Object.defineProperty(navigator, "gpu", before);
    else Reflect.deleteProperty(navigator, "gpu");
  }
});
