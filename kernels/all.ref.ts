// Every suite, by name: what the kernel tests, the browser run and the kernel benchmark go through.
import type { AnySuite } from "./case.ts";
import rmsNorm from "./rms_norm.ref.ts";

export const suites: readonly AnySuite[] = [rmsNorm];
