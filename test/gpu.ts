import { create, globals } from "webgpu";
import { Gpu } from "../src/gpu/gpu.ts";
import "../kernels/all.ref.ts";

Object.assign(globalThis, globals);
export const api = create([]);
const adapter = await api.requestAdapter();
export const gpu = await Gpu.open(adapter!);
gpu.poison = true;
