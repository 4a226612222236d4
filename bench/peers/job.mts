// What one process measures.

/** The shape of all tasks. */
export const SHAPE = "fastvlm-0.5b";

/** A pass through FastViTHD and projector, through the language model in int4 (a prompt, or one token after `past`), or a product. */
export type Task =
  | { readonly kind: "vision"; readonly size: number }
  | { readonly kind: "decoder"; readonly tokens: number; readonly past: number }
  | { readonly kind: "product"; readonly rows: number; readonly inputs: number; readonly outputs: number };

export type Engine =
  | "ours"
  | "ort-node-webgpu"
  | "ort-web-webgpu"
  | "transformers-js-webgpu"
  | "tensorflow-js-webgpu"
  | "llama-cpp-vulkan"
  | "ort-node-cpu"
  | "llama-cpp-cpu";

export interface Job {
  readonly engine: Engine;
  readonly task: Task;
  readonly runs: number;
  /** Of engines that run on the CPU. */
  readonly threads: number;
  readonly software: boolean;
  /** An empty folder for models that are read from files. */
  readonly folder: string;
}

/** Runs once and returns its milliseconds. */
export type Pass = () => Promise<number>;
