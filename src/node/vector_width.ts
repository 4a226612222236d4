import { readFileSync } from "node:fs";

/** What a CPU must have for vectors of 512 bits to be worth it. */
const WANTED = ["avx512f", "avx512bw", "avx512dq", "avx512vl"];

/**
 * Has Mesa's driver for CPUs compute with vectors of 512 bits where the CPU has them, a third faster than with the 256 that it takes
 * by itself. To be called before the driver is loaded; other drivers do not read these variables. What the user has set stays.
 */
export function widenVectors(env: NodeJS.ProcessEnv = process.env, cpuinfo: () => string = readCpuinfo): void {
  if (env.LP_NATIVE_VECTOR_WIDTH !== undefined || !hasWideVectors(cpuinfo())) return;
  env.LP_NATIVE_VECTOR_WIDTH = "512";
  // The driver keeps compiled shaders on disk, where those of either width would pass for the other's. This switches off an
  // optimisation of textures, which there are none of, and is part of what they are kept by.
  env.GALLIVM_PERF = [env.GALLIVM_PERF, "no_quad_lod"].filter(Boolean).join();
}

function hasWideVectors(cpuinfo: string): boolean {
  const flags = /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.split(" ") ?? [];
  return WANTED.every((flag) => flags.includes(flag));
}

function readCpuinfo(): string {
  try {
    return readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    return ""; // not Linux, whose alone the driver is here
  }
}
