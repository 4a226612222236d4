import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";

/** A Vulkan implementation on the CPU, unpacked from an npm package. */
export interface SwiftShader {
  /** Path of the driver's manifest, the value for `VK_DRIVER_FILES`. */
  readonly manifest: string;
  /** Path of a Vulkan loader, for systems without one. */
  readonly loader: string;
}

/** The npm package that carries SwiftShader (with a Chromium beside it): x64 Linux, no root needed. */
export const SWIFTSHADER_PACKAGE = "@sparticuz/chromium";

const MANIFEST = "vk_swiftshader_icd.json";
const LOADER = "libvulkan.so.1";
const FILES: readonly string[] = [MANIFEST, LOADER, "libvk_swiftshader.so"];
const SIZES = "sizes.json";

/** SwiftShader ready to load, or null where its package is not installed or is of no use. */
export async function findSwiftShader(): Promise<SwiftShader | null> {
  const found = process.platform === "linux" && process.arch === "x64" ? await locate() : null;
  if (!found) return null;
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fastvlm");
  const folder = join(cache, `swiftshader-${found.version}`);
  const ready = (await isComplete(folder)) ? folder : await unpack(found.archive, cache, folder);
  return { manifest: join(ready, MANIFEST), loader: join(ready, LOADER) };
}

async function locate(): Promise<{ archive: string; version: string } | null> {
  try {
    const entry = createRequire(import.meta.url).resolve(SWIFTSHADER_PACKAGE); // <package>/build/index.js
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
    const archive = join(root, "bin/swiftshader.tar.br");
    await stat(archive);
    return { archive, version };
  } catch {
    return null;
  }
}

/** True when every file has the size it was unpacked with: a full disk or a power cut leaves less. */
async function isComplete(folder: string): Promise<boolean> {
  try {
    const sizes = JSON.parse(await readFile(join(folder, SIZES), "utf8")) as Record<string, number>;
    const actual = await Promise.all(FILES.map(async (name) => (await stat(join(folder, name))).size === sizes[name]));
    return actual.every(Boolean);
  } catch {
    return false;
  }
}

/**
 * Unpacks beside `folder` and renames, so that neither an interruption nor a second process leaves half a driver. Where
 * the cache cannot be written, a temporary folder serves this process alone.
 *
 * @returns the folder that holds the files
 */
async function unpack(archive: string, cache: string, folder: string): Promise<string> {
  const files = untar(await promisify(brotliDecompress)(await readFile(archive)));
  const aside = await mkdir(cache, { recursive: true })
    .then(() => mkdtemp(join(cache, "unpacking-")))
    .catch(() => temporaryFolder());
  const sizes: Record<string, number> = {};
  for (const name of FILES) {
    const bytes = files.get(name);
    if (!bytes) throw new Error(`${archive}: ${name} is missing`);
    sizes[name] = bytes.length;
    await writeFile(join(aside, name), bytes, { mode: 0o755 });
  }
  await writeFile(join(aside, SIZES), JSON.stringify(sizes));
  if (dirname(aside) !== cache) return aside;
  try {
    if (!(await isComplete(folder))) {
      await rm(folder, { recursive: true, force: true });
      await rename(aside, folder);
    }
  } catch (cause) {
    if (!(await isComplete(folder))) throw cause; // else another process was quicker
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return folder;
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "fastvlm-swiftshader-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The regular files of a tar archive, by base name. */
function untar(archive: Buffer): Map<string, Buffer> {
  const text = (start: number, length: number): string =>
    archive.toString("latin1", start, start + length).split("\0", 1)[0]!;
  const files = new Map<string, Buffer>();
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    const type = text(at + 156, 1);
    if (type === "0" || type === "")
      files.set(text(at, 100).split("/").at(-1)!, archive.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
