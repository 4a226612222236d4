import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium } from "playwright-core";

/** WebGPU on SwiftShader needs the first; the others keep the browser quiet on the network beyond Playwright's own flags. */
const FLAGS = [
  "--enable-unsafe-webgpu",
  "--disable-domain-reliability",
  "--disable-client-side-phishing-detection",
  "--no-pings",
];

export interface Launched {
  readonly browser: Browser;
  readonly path: string;
  close(): Promise<void>;
}

/**
 * Starts the first headless Chromium that works: the one `CHROMIUM_PATH` names, the system's, or the one that the
 * development dependency `@sparticuz/chromium` carries (Linux on x64).
 *
 * @throws Error with one line per browser that did not start
 */
export async function launchChromium(): Promise<Launched> {
  const named = process.env.CHROMIUM_PATH;
  const installed = named
    ? [named]
    : ["/usr/bin/chromium", "/usr/bin/google-chrome"].filter((path) => existsSync(path));
  const problems: string[] = [];
  for (const path of installed) {
    try {
      const browser = await start(path);
      return { browser, path, close: () => browser.close() };
    } catch (error) {
      problems.push(`${path}: ${brief(error)}`);
    }
  }
  // Whoever names a browser wants that one.
  if (named) throw new Error(problems.join("\n"));
  const folder = await mkdtemp(join(tmpdir(), "fastvlm-chromium-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const browser = await start(await unpackChromium(folder), {
      LD_LIBRARY_PATH: join(folder, "al2023/lib"),
      FONTCONFIG_PATH: join(folder, "fonts"),
    });
    return { browser, path: "@sparticuz/chromium", close: () => browser.close().finally(remove) };
  } catch (error) {
    await remove();
    problems.push(`@sparticuz/chromium: ${brief(error)}`);
    throw new Error(problems.join("\n"));
  }
}

function start(executablePath: string, env: Readonly<Record<string, string>> = {}): Promise<Browser> {
  const root = process.getuid?.() === 0; // Chromium's sandbox does not run as root.
  return chromium.launch({
    executablePath,
    args: FLAGS,
    chromiumSandbox: !root,
    // The browser brings its own SwiftShader; drivers that this process chose for Dawn would hide it.
    env: { ...process.env, VK_DRIVER_FILES: undefined, VK_ICD_FILENAMES: undefined, ...env },
    timeout: 60_000,
  });
}

/** Prints the path of the browser. `al2023` holds the libraries that a bare system lacks. */
const UNPACK = `
  import { fileURLToPath } from "node:url";
  import chromium, { inflate } from "@sparticuz/chromium";
  await inflate(fileURLToPath(new URL("../bin/al2023.tar.br", import.meta.resolve("@sparticuz/chromium"))));
  process.stdout.write(await chromium.executablePath());
`;

/** In a process of its own, since the package unpacks to the temporary folder that the environment names. */
async function unpackChromium(folder: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", UNPACK], {
    cwd: import.meta.dirname,
    env: { ...process.env, TMPDIR: folder },
    timeout: 120_000,
  });
  return stdout;
}

/** Launch errors carry the browser's whole log: what failed, then what the browser itself said of it, on one line. */
function brief(error: unknown): string {
  const [what, ...log] = String(error).split("\n");
  const said = log.filter((line) => line.startsWith("[pid=")).slice(0, 2);
  return [what, ...said.map((line) => line.replace(/^\[pid=\d+\]\[err\] /, ""))].join("; ");
}
