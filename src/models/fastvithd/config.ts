import { Settings } from "../../../weights/settings.ts";

/** Sizes of a FastViTHD tower (timm `fastvit_mci3`, Apple `fastvithd`). */
export interface FastViTHDConfig {
  /** Blocks of each stage. */
  readonly layers: FiveSizes;
  /** Channels of each stage. */
  readonly embedDims: FiveSizes;
  /** Width of the feed-forward hidden layer over the channels. */
  readonly mlpRatio: number;
  /** Channels of one attention head. */
  readonly headDim: number;
  /** Channels of a feature. */
  readonly outputChannels: number;
}

type FiveSizes = readonly [number, number, number, number, number];

/** The tower of every published FastVLM. */
export const FASTVITHD: FastViTHDConfig = {
  layers: [2, 12, 24, 4, 2],
  embedDims: [96, 192, 384, 768, 1536],
  mlpRatio: 4,
  headDim: 32,
  outputChannels: 3072,
};

/** Arguments of timm's constructor that do not change the network. */
const HARMLESS_ARGS = ["inference_mode", "num_classes", "drop_rate", "drop_path_rate", "layer_scale_init_value"];
const MAX_BLOCKS = 256;

/**
 * Reads a tower's sizes: transformers' `vision_config` or a timm `config.json` (`model_args`), or an Apple-style
 * `config.json`, which names the tower and leaves its sizes to the code.
 *
 * @throws ConfigError for another tower, or sizes it cannot have
 */
export function fastvithdConfig(source: unknown): FastViTHDConfig {
  const settings = new Settings(source ?? {}, "config.json");
  const architecture = settings.text("architecture");
  if (architecture !== undefined && !architecture.startsWith("fastvit_mci3")) {
    throw settings.wrong("architecture", "fastvit_mci3 (FastViTHD)", "Only this image encoder is supported.");
  }
  const tower = settings.text("mm_vision_tower");
  if (tower !== undefined && !/mobileclip_l|fastvithd|fastvit_mci3/i.test(tower)) {
    throw settings.wrong("mm_vision_tower", "mobileclip_l_… (FastViTHD)", "Only this image encoder is supported.");
  }
  const args = settings.object("model_args");
  const unknown = args?.keys().find((key) => !["layers", "embed_dims", ...HARMLESS_ARGS].includes(key));
  if (args && unknown !== undefined) throw args.wrong(unknown, "no such setting for fastvit_mci3");
  const sizes = args ?? settings.object("_tiny_vision");
  const layers = sizes?.numbers("layers", 5, true);
  const embedDims = sizes?.numbers("embed_dims", 5, true);
  if (sizes && layers?.some((blocks) => blocks > MAX_BLOCKS))
    throw sizes.wrong("layers", `at most ${MAX_BLOCKS} blocks`);
  if (sizes && embedDims && !isTower(embedDims)) {
    throw sizes.wrong("embed_dims", "each stage twice as wide as the one before, the last two multiples of 32");
  }
  const dims = (embedDims ?? FASTVITHD.embedDims) as unknown as FiveSizes;
  return {
    ...FASTVITHD,
    layers: (layers ?? FASTVITHD.layers) as unknown as FiveSizes,
    embedDims: dims,
    outputChannels: 2 * dims[4],
  };
}

const isTower = (dims: readonly number[]): boolean =>
  dims.every(
    (channels, i) => (i === 0 || channels === 2 * dims[i - 1]!) && (i < 3 || channels % FASTVITHD.headDim === 0),
  );
