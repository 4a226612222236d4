/**
 * Every error this library throws on purpose. `message` says what was expected and what was found;
 * `hint`, when there is one, says the way out.
 */
export class FastVLMError extends Error {
  override readonly name: string = "FastVLMError";
  /** What the caller can do about it, as one sentence. */
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
  }
}

/** A value passed by the caller (option, flag, argument) makes no sense. */
export class InputError extends FastVLMError {
  override readonly name = "InputError";
}

/** A tensor does not have the shape or element type an operation needs. */
export class ShapeError extends FastVLMError {
  override readonly name = "ShapeError";
}

/** A checkpoint file is missing, truncated or malformed. */
export class CheckpointError extends FastVLMError {
  override readonly name = "CheckpointError";
}

/** A checkpoint lacks a tensor, or holds it in another shape or element type than the model needs. */
export class WeightError extends FastVLMError {
  override readonly name = "WeightError";
}

/** A `config.json` asks for something this engine does not do, or lacks a setting it needs. */
export class ConfigError extends FastVLMError {
  override readonly name = "ConfigError";
}

/** Bytes that are not an image this runtime can decode. */
export class ImageError extends FastVLMError {
  override readonly name = "ImageError";
}

/** Bytes that are not a video this runtime can decode, or a video decoder that is not installed. */
export class VideoError extends FastVLMError {
  override readonly name = "VideoError";
}

/** A tokenizer or chat template that cannot be read or applied. */
export class TextError extends FastVLMError {
  override readonly name = "TextError";
}

/** The prompt and the answer need more tokens than the context holds. */
export class ContextError extends FastVLMError {
  override readonly name = "ContextError";
}

/** No usable GPU adapter, or the adapter lacks something that was asked for. */
export class AdapterError extends FastVLMError {
  override readonly name = "AdapterError";
}

/** The GPU refused work: a validation error, or memory ran out. */
export class GpuError extends FastVLMError {
  override readonly name: string = "GpuError";
}

/** The GPU device is gone (driver reset, tab in the background, `destroy()`). */
export class DeviceLostError extends GpuError {
  override readonly name = "DeviceLostError";
}
