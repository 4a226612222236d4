import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import pc from "picocolors";
import { AdapterError } from "../errors.ts";
import { type AdapterSummary, summarize } from "../gpu/device.ts";
import { findAdapter, installHint } from "../node/adapter.ts";
import { parseFlags } from "./args.ts";

/** What `fastvlm doctor` finds out. */
export interface Report {
  readonly node: string;
  readonly platform: string;
  /** Version of the `webgpu` package (Dawn), when it is installed. */
  readonly webgpu: string | undefined;
  /** Where the adapter came from: `system` or `npm`. */
  readonly found: string | undefined;
  readonly adapter: AdapterSummary | undefined;
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
  const base = {
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    webgpu: webgpuVersion(),
  };
  try {
    const { adapter, how } = await findAdapter();
    const summary = summarize(adapter);
    const limits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    return { ...base, found: how, adapter: summary, limits, advice: advise(summary) };
  } catch (error) {
    if (!(error instanceof AdapterError)) throw error;
    return {
      ...base,
      found: undefined,
      adapter: undefined,
      limits: {},
      advice: [error.message, ...(error.hint ? [error.hint] : [])],
    };
  }
}

function advise({ software, description, f16, subgroups }: AdapterSummary): string[] {
  const advice: string[] = [];
  if (software)
    advice.push("This adapter is the CPU. A GPU with its driver installed is tens to hundreds of times faster.");
  if (/swiftshader/i.test(description))
    advice.push(`Mesa's software adapter is about 12 times faster than SwiftShader. ${installHint()}`);
  if (!f16) advice.push("No f16 in shaders: weights take twice the memory. A newer driver may have it.");
  if (!subgroups) advice.push("No subgroup operations: matrix products run slower. A newer driver may have them.");
  return advice;
}

function webgpuVersion(): string | undefined {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve("webgpu"));
    const file = join(folder, "package.json");
    return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version : undefined;
  } catch {
    return undefined;
  }
}

/** `fastvlm doctor`: the report as text, or as JSON with `--json`. */
export async function runDoctor(args: readonly string[]): Promise<void> {
  const { values } = parseFlags(args, { json: { type: "boolean" } }, "fastvlm doctor [--json]");
  const report = await doctor();
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : render(report));
}

function render({ node, platform, webgpu, found, adapter, limits, advice }: Report): string {
  const yes = (value: boolean): string => (value ? pc.green("yes") : pc.yellow("no"));
  const rows: [string, string][] = [
    ["Node", `${node} on ${platform}`],
    ["webgpu (Dawn)", webgpu ?? pc.yellow("not installed")],
    [
      "adapter",
      adapter ? `${adapter.description} (${adapter.vendor} ${adapter.architecture}), found: ${found}` : pc.red("none"),
    ],
  ];
  if (adapter) {
    rows.push(["software", yes(adapter.software)], ["f16", yes(adapter.f16)]);
    rows.push([
      "subgroups",
      adapter.subgroups ? `${yes(true)}, ${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize} lanes` : yes(false),
    ]);
    rows.push(["timestamps", yes(adapter.timestamps)]);
  }
  for (const [name, value] of Object.entries(limits))
    rows.push([name, value >= 2 ** 20 ? `${Math.round(value / 2 ** 20)} MiB` : String(value)]);
  const table = rows.map(([name, value]) => `${name.padEnd(34)} ${value}\n`).join("");
  return table + (advice.length > 0 ? `\n${advice.map((line) => `• ${line}\n`).join("")}` : "\nNothing to improve.\n");
}
