import { openNodeGpu } from "../src/node/adapter.ts";
import "../kernels/all.ref.ts";

/** The one device that all tests of a process share. */
export const gpu = await openNodeGpu();
gpu.poison = true;
if (process.env.REQUIRE_F16 && !gpu.adapter.f16)
  throw new Error(`REQUIRE_F16 is set, and ${gpu.adapter.description} has no f16`);
