import type { AdapterSummary } from "../src/gpu/device.ts";

/** True where subgroups have exactly eight lanes: a CPU with 256-bit vectors. */
export const hasEightLanes = ({ subgroups, subgroupMinSize, subgroupMaxSize }: AdapterSummary): boolean =>
  subgroups && subgroupMinSize === 8 && subgroupMaxSize === 8;
