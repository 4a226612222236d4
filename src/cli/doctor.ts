import { accessSync, existsSync, constants as fs, readdirSync } from "node:fs";
import { join } from "node:path";
import pc from "picocolors";
import { AdapterError } from "../errors.ts";
import { type AdapterSummary, nameOf, type SubgroupMatrix, summarize } from "../gpu/device.ts";
import { tableFor } from "../gpu/tuned.ts";
import { findAdapter, installHint } from "../node/adapter.ts";
import { nativeJpeg } from "../node/image_codecs.ts";
import { NodeTuningStore, webgpuVersion } from "../node/tuning_store.ts";
import { hasVulkanLoader, vulkanDrivers } from "../node/vulkan.ts";
import { tuningKey } from "../pipeline/tuning.ts";
import { noArguments, parseFlags } from "./args.ts";

export const DOCTOR_USAGE = `fastvlm doctor [--json]

  The runtime, the GPU adapter and its limits, and what would make answers work, or work faster.

  --json            print one JSON object instead of text`;

/** What `fastvlm doctor` finds out. */
export interface Report {
  readonly node: string;
  readonly platform: string;
  /** Version of the `webgpu` package (Dawn), when it is installed. */
  readonly webgpu: string | undefined;
  /** What decodes JPEG pictures, in words. */
  readonly jpeg: string;
  /** What Dawn reaches GPUs through; on Linux only. */
  readonly vulkan: { readonly loader: boolean; readonly drivers: readonly string[] } | undefined;
  /** Device files of GPUs, and whether this user may open them; on Linux only. */
  readonly devices: readonly { readonly path: string; readonly open: boolean }[];
  /** Where the adapter's driver came from, in words. */
  readonly found: string | undefined;
  readonly adapter: AdapterSummary | undefined;
  /** Where choices between shaders come from, in words. */
  readonly tuning: string | undefined;
  /** Limits that decide what fits, in bytes but for the invocations. */
  readonly limits: Readonly<Record<string, number>>;
  /** What would make it work, or work faster. */
  readonly advice: readonly string[];
}

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

/** Looks at the runtime and its GPU adapter. Never throws for want of one. */
export async function doctor(): Promise<Report> {
  const linux = process.platform === "linux";
  const base = {
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    webgpu: webgpuVersion(),
    jpeg: (await nativeJpeg.version()) ?? "WebAssembly (`npm install sharp` brings a faster one)",
    vulkan: linux ? { loader: hasVulkanLoader(), drivers: vulkanDrivers() } : undefined,
    devices: linux ? gpuDevices() : [],
  };
  try {
    const { adapter, how } = await findAdapter();
    const summary = summarize(adapter);
    const limits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    return {
      ...base,
      found: how,
      adapter: summary,
      tuning: await tuningOf(summary),
      limits,
      advice: advise(summary, base.devices),
    };
  } catch (error) {
    if (!(error instanceof AdapterError)) throw error;
    return {
      ...base,
      found: undefined,
      adapter: undefined,
      tuning: undefined,
      limits: {},
      advice: [error.message, ...(error.hint ? [error.hint] : [])],
    };
  }
}

async function tuningOf(adapter: AdapterSummary): Promise<string> {
  const known = Object.keys(tableFor(adapter)).length;
  const comes = known > 0 ? `${known} choices come with the program` : "no choices come with the program";
  if (adapter.software) return comes;
  const store = new NodeTuningStore();
  const key = tuningKey(adapter, store.runtime);
  const isKept = (await store.read(key)) !== undefined;
  return `${comes}; ${isKept ? `measured here: ${store.path(key)}` : "the first load of a model measures more"}`;
}

function advise(adapter: AdapterSummary, devices: Report["devices"]): string[] {
  const { software, description, f16, subgroups } = adapter;
  const advice: string[] = [];
  const closed = devices.find(({ open }) => !open);
  if (software)
    advice.push("This adapter is the CPU. A GPU with its driver installed is tens to hundreds of times faster.");
  if (software && closed)
    advice.push(`${closed.path} is a GPU that this user may not open: join its group (see ls -l ${closed.path}).`);
  else if (software && devices.length > 0)
    advice.push(`${devices[0]!.path} may be a GPU without a Vulkan driver: install its vendor's.`);
  if (/swiftshader/i.test(description))
    advice.push(`Mesa's software adapter is about 12 times faster than SwiftShader. ${installHint()}`);
  if (!f16) advice.push("No f16 in shaders: weights take twice the memory. A newer driver may have it.");
  if (!subgroups) advice.push("No subgroup operations: matrix products run slower. A newer driver may have them.");
  return advice;
}

/** Render nodes of the kernel's graphics drivers, and NVIDIA's own kind. */
function gpuDevices(): Report["devices"] {
  const nodes = (folder: string, pattern: RegExp): string[] =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => pattern.test(name))
          .map((name) => join(folder, name))
      : [];
  return [...nodes("/dev/dri", /^renderD\d+$/), ...nodes("/dev", /^nvidia\d+$/)].map((path) => {
    try {
      accessSync(path, fs.R_OK | fs.W_OK);
      return { path, open: true };
    } catch {
      return { path, open: false };
    }
  });
}

/** `fastvlm doctor`: the report as text, or as JSON with `--json`. */
export async function runDoctor(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, { json: { type: "boolean" } }, DOCTOR_USAGE);
  noArguments("doctor", positionals, DOCTOR_USAGE);
  const report = await doctor();
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : render(report));
}

function render(report: Report): string {
  const { node, platform, webgpu, jpeg, vulkan, devices, found, adapter, tuning, limits, advice } = report;
  const yes = (value: boolean): string => (value ? pc.green("yes") : pc.yellow("no"));
  const rows: [string, string][] = [
    ["Node", `${node} on ${platform}`],
    ["webgpu (Dawn)", webgpu ?? pc.yellow("not installed")],
    ["JPEG decoder", jpeg],
    ...(vulkan ? vulkanRows(vulkan) : []),
    ...devices.map(({ path, open }): [string, string] => [
      "GPU device",
      `${path}${open ? "" : pc.yellow(", not open to this user")}`,
    ]),
    ["adapter", adapter ? `${nameOf(adapter)}, found: ${found}` : pc.red("none")],
  ];
  if (adapter) {
    rows.push(["software", yes(adapter.software)], ["f16", yes(adapter.f16)]);
    rows.push([
      "subgroups",
      adapter.subgroups ? `${yes(true)}, ${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize} lanes` : yes(false),
    ]);
    rows.push(["packed dot products", yes(adapter.packedDot)]);
    rows.push(["subgroup matrices", adapter.subgroupMatrices.map(showMatrix).join(", ") || yes(false)]);
    rows.push(["timestamps", yes(adapter.timestamps)], ["tuning", tuning ?? ""]);
  }
  for (const [name, value] of Object.entries(limits))
    rows.push([name, value >= 2 ** 20 ? `${Math.round(value / 2 ** 20)} MiB` : String(value)]);
  const table = rows.map(([name, value]) => `${name.padEnd(34)} ${value}\n`).join("");
  return table + (advice.length > 0 ? `\n${advice.map((line) => `• ${line}\n`).join("")}` : "\nNothing to improve.\n");
}

const showMatrix = ({ component, result, M, N, K }: SubgroupMatrix): string => `${component}→${result} ${M}×${N}×${K}`;

function vulkanRows({ loader, drivers }: NonNullable<Report["vulkan"]>): [string, string][] {
  const none = pc.yellow("none");
  return [
    ["Vulkan loader", loader ? "libvulkan.so.1" : none],
    ["Vulkan drivers", drivers[0] ?? none],
    ...drivers.slice(1).map((path): [string, string] => ["", path]),
  ];
}
