import type { AdapterSummary } from "../src/gpu/device.ts";

/** True where subgroups have exactly eight lanes: a CPU with 256-bit vectors. */
export const hasEightLanes = ({ subgroups, subgroupMinSize, subgroupMaxSize }: AdapterSummary): boolean =>
  subgroups && subgroupMinSize === 8 && subgroupMaxSize === 8;

/** True where shaders run that take subgroups of any size from eight lanes up. */
export const hasSubgroups = ({ subgroups, subgroupMinSize }: AdapterSummary): boolean =>
  subgroups && subgroupMinSize >= 8;
