// What a machine without node_modules, a GPU, Vulkan or a home folder goes through.
import assert from "node:assert/strict";
import { type ExecFileException, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findSwiftShader } from "../src/node/swiftshader.ts";
import { vulkanDrivers } from "../src/node/vulkan.ts";

const path = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url));

interface Ended {
  readonly code: number | string | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a Node process to its end; `env` replaces or (undefined) removes variables. */
function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env }, timeout: 60_000 };
    execFile(process.execPath, args, options, (error: ExecFileException | null, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? null) : 0, signal: error?.signal ?? null, stdout, stderr });
    });
  });
}

function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "fastvlm-test-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const swiftShader = await findSwiftShader();

describe("without a Vulkan driver", { skip: swiftShader === null && "SwiftShader is not installed here" }, () => {
  /** Multiplies on whatever adapter there is, and says how it was found. */
  const PROBE = `
    const { findAdapter } = await import(${JSON.stringify(path("src/node/adapter.ts"))});
    const { adapter, how } = await findAdapter();
    const device = await adapter.requestDevice();
    const code = "@group(0) @binding(0) var<storage, read_write> y: array<u32>; @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { y[i] = 7 * i; }";
    const compute = { module: device.createShaderModule({ code }) };
    const pipeline = device.createComputePipeline({ layout: "auto", compute });
    const [y, out] = [GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST].map((usage) => device.createBuffer({ size: 16, usage }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: y } }] }));
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(y, 0, out, 0, 16);
    device.queue.submit([encoder.finish()]);
    await out.mapAsync(GPUMapMode.READ);
    console.log(JSON.stringify({ how, values: [...new Uint32Array(out.getMappedRange())], drivers: process.env.VK_DRIVER_FILES }));`;
  const probe = (env: NodeJS.ProcessEnv): Promise<Ended> =>
    run(["--input-type=module", "--eval", PROBE], {
      VK_DRIVER_FILES: "/nonexistent",
      VK_ICD_FILENAMES: "/nonexistent",
      ...env,
    });

  const check = ({ code, stdout, stderr }: Ended): void => {
    assert.equal(code, 0, stderr);
    const { how, values, drivers } = JSON.parse(stdout) as { how: string; values: number[]; drivers: string };
    assert.match(how, /^SwiftShader from npm/);
    assert.deepEqual(values, [0, 7, 14, 21]);
    assert.equal(drivers, "/nonexistent", "children inherit what was set before");
  };

  test("SwiftShader computes, from a cache that two processes fill at once", async (context) => {
    const cache = temporaryFolder(context);
    for (const ended of await Promise.all([probe({ XDG_CACHE_HOME: cache }), probe({ XDG_CACHE_HOME: cache })]))
      check(ended);
    assert.equal(readdirSync(join(cache, "fastvlm")).length, 1, "nothing half-unpacked stays");
  });

  test("a damaged cache is unpacked again", async (context) => {
    const cache = temporaryFolder(context);
    check(await probe({ XDG_CACHE_HOME: cache }));
    const folder = join(cache, "fastvlm", readdirSync(join(cache, "fastvlm"))[0]!);
    truncateSync(join(folder, "libvk_swiftshader.so"), 1000);
    check(await probe({ XDG_CACHE_HOME: cache }));
    rmSync(join(folder, "vk_swiftshader_icd.json"));
    check(await probe({ XDG_CACHE_HOME: cache }));
  });

  test("a cache that cannot be written does not matter", async (context) => {
    const folder = temporaryFolder(context);
    writeFileSync(join(folder, "file"), "");
    check(await probe({ XDG_CACHE_HOME: join(folder, "file"), TMPDIR: folder }));
    assert.deepEqual(readdirSync(folder), ["file"], "the temporary copy is gone");
  });
});

test("Vulkan drivers are listed as the loader finds them", (context) => {
  const folder = temporaryFolder(context);
  mkdirSync(join(folder, "vulkan/icd.d"), { recursive: true });
  const [first, second] = ["a.json", "b.json"].map((name) => join(folder, "vulkan/icd.d", name)) as [string, string];
  for (const file of [first, second]) writeFileSync(file, "{}");
  const found = vulkanDrivers({
    XDG_DATA_DIRS: folder,
    XDG_CONFIG_HOME: "/nonexistent",
    XDG_DATA_HOME: "/nonexistent",
  });
  assert.deepEqual(
    found.filter((file) => file.startsWith(folder)),
    [first, second],
  );
  assert.deepEqual(vulkanDrivers({ VK_DRIVER_FILES: `${second}:/nonexistent.json` }), [second]);
});

describe("setup", () => {
  const lock = (version: string) => ({
    packages: { "": {}, "node_modules/a": { version }, "node_modules/b": { version, optional: true } },
  });

  /** A checkout with a stand-in for npm that leaves its arguments in `called` and ends with `exit`. */
  function checkout(context: TestContext, installed: object | undefined, exit = 0) {
    const root = temporaryFolder(context);
    for (const file of ["setup.mjs", "node24.mjs"]) cpSync(path(`src/cli/${file}`), join(root, "src/cli", file));
    writeFileSync(join(root, "package-lock.json"), JSON.stringify(lock("1.0.0")));
    mkdirSync(join(root, "node_modules"));
    if (installed) writeFileSync(join(root, "node_modules/.package-lock.json"), JSON.stringify(installed));
    const npm = join(root, "npm-cli.js");
    writeFileSync(
      npm,
      `require("fs").writeFileSync(${JSON.stringify(join(root, "called"))}, process.argv[2]); process.exit(${exit})`,
    );
    const called = () => (existsSync(join(root, "called")) ? readFileSync(join(root, "called"), "utf8") : null);
    return {
      called,
      setup: () => run([join(root, "src/cli/setup.mjs")], { npm_execpath: npm, npm_node_execpath: undefined }),
    };
  }

  test("leaves an installation that fits alone, without a word", async (context) => {
    const { setup, called } = checkout(context, { packages: { "node_modules/a": { version: "1.0.0" } } });
    assert.deepEqual(await setup(), { code: 0, signal: null, stdout: "", stderr: "" });
    assert.equal(called(), null);
  });

  test("installs what is missing, cut off, or of another version", async (context) => {
    for (const installed of [undefined, { packages: {} }, lock("0.9.0")]) {
      const { setup, called } = checkout(context, installed);
      const { code, stdout } = await setup();
      assert.equal(code, 0);
      assert.match(stdout, /installing/);
      assert.equal(called(), "install");
    }
  });

  test("says so when npm fails", async (context) => {
    const { code, stderr } = await checkout(context, undefined, 1).setup();
    assert.equal(code, 1);
    assert.match(stderr, /npm install failed/);
  });
});

describe("handing over to another Node", () => {
  const launch = (context: TestContext, body: string): string[] => {
    const script = join(temporaryFolder(context), "child.mjs");
    writeFileSync(script, body);
    const code = `import { runOnNode24 } from ${JSON.stringify(path("src/cli/node24.mjs"))}; runOnNode24([${JSON.stringify(script)}, "x"]);`;
    return ["--input-type=module", "--eval", code];
  };

  test("passes arguments, output and exit code on", async (context) => {
    const { code, stdout } = await run(launch(context, "console.log(process.argv[2]); process.exitCode = 7;"));
    assert.deepEqual([code, stdout], [7, "x\n"]);
  });

  test("passes signals on and ends by the same", async (context) => {
    const args = launch(context, "setInterval(() => {}, 1000); console.log(process.pid);");
    const parent = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    });
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    parent.kill("SIGTERM");
    const [code, signal] = await once(parent, "exit");
    assert.deepEqual([code, signal], [null, "SIGTERM"]);
    assert.throws(() => process.kill(Number(line.toString()), 0), "the child is gone");
  });
});
