import type { AdapterSummary } from "../src/gpu/device.ts";

/**
 * True where subgroups always have 8 or always 16 lanes and are a CPU's, of vectors of 256 or 512 bits. A GPU whose subgroups are as
 * small wants other shaders.
 */
export const hasCpuLanes = ({ software, subgroups, subgroupMinSize, subgroupMaxSize }: AdapterSummary): boolean =>
  software && subgroups && subgroupMinSize === subgroupMaxSize && (subgroupMinSize === 8 || subgroupMinSize === 16);

/** What shaders for CPUs call LANES. */
export const cpuLanes = ({ subgroupMinSize }: AdapterSummary): number => subgroupMinSize;

/** True where shaders run that take subgroups of any size from eight lanes up. */
export const hasSubgroups = ({ subgroups, subgroupMinSize }: AdapterSummary): boolean =>
  subgroups && subgroupMinSize >= 8;
