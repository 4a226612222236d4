import { existsSync, readdirSync } from "node:fs";
import { homedir, constants as os } from "node:os";
import { join } from "node:path";

/** glibc's flag for a library that stays loaded when the handle is closed; Node has no constant for it. */
const RTLD_NODELETE = 0x1000;

/**
 * Loads a shared library into this process under its own name, where Dawn's `dlopen` finds it again.
 *
 * @param library a path, or a bare name for the system's search
 * @returns false when there is no such library
 */
export function loadLibrary(library: string): boolean {
  const { RTLD_NOW, RTLD_GLOBAL } = os.dlopen;
  try {
    process.dlopen({ exports: {} }, library, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  } catch (error) {
    // Node wants an addon and says so once the library is loaded; only the dynamic linker's own complaint is a failure.
    return /did not self-register/.test(String(error));
  }
  return true;
}

/** True when the system has a Vulkan loader. Asked first, since Dawn prints a warning when there is none. */
export const hasVulkanLoader = (): boolean => loadLibrary("libvulkan.so.1");

/**
 * The driver manifests that the Vulkan loader on Linux would read, in its order.
 * Follows "Driver Discovery" of the loader's documentation (Khronos Vulkan-Loader, LoaderDriverInterface.md).
 */
export function vulkanDrivers(env: NodeJS.ProcessEnv = process.env): string[] {
  const list = (value: string | undefined): string[] => value?.split(":").filter(Boolean) ?? [];
  const chosen = list(env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES);
  const home = homedir();
  const roots = [
    env.XDG_CONFIG_HOME || join(home, ".config"),
    ...list(env.XDG_CONFIG_DIRS || "/etc/xdg"),
    "/etc",
    env.XDG_DATA_HOME || join(home, ".local/share"),
    ...list(env.XDG_DATA_DIRS || "/usr/local/share:/usr/share"),
  ];
  const places =
    chosen.length > 0 ? chosen : [...list(env.VK_ADD_DRIVER_FILES), ...roots.map((root) => join(root, "vulkan/icd.d"))];
  return [...new Set(places.flatMap(manifests))];
}

/** A manifest by its own path, or those of a folder. */
function manifests(place: string): string[] {
  if (place.endsWith(".json")) return existsSync(place) ? [place] : [];
  try {
    return readdirSync(place)
      .filter((name) => name.endsWith(".json"))
      .sort()
      .map((name) => join(place, name));
  } catch {
    return [];
  }
}
