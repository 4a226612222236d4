import { openDevice } from "../src/gpu/device.ts";
import { Gpu } from "../src/gpu/gpu.ts";
import { loadShaders } from "../src/gpu/kernel.ts";
import { findAdapter, patientWait } from "../src/node/adapter.ts";

/** This machine's adapter as a GPU that may run more lanes than it does. */
export async function openVarying(): Promise<Gpu> {
  const { adapter } = await findAdapter();
  const [open] = await Promise.all([openDevice(adapter, patientWait), loadShaders()]);
  const summary = { ...open.adapter, software: false, description: "GPU under test", subgroupMaxSize: 32 };
  return new Gpu({ ...open, adapter: summary });
}
