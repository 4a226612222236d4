// Every suite, by name: what the kernel tests, the browser run and the kernel benchmark go through.

import adaptiveAvgPool2d from "./adaptive_avg_pool2d.ref.ts";
import argmax from "./argmax.ref.ts";
import attention from "./attention.ref.ts";
import byteRows from "./byte_rows.ref.ts";
import type { AnySuite } from "./case.ts";
import causalAttention from "./causal_attention.ref.ts";
import channelMean from "./channel_mean.ref.ts";
import channelScale from "./channel_scale.ref.ts";
import depthwiseConv2d from "./depthwise_conv2d.ref.ts";
import embed from "./embed.ref.ts";
import embedQuantized from "./embed_quantized.ref.ts";
import halfRows from "./half_rows.ref.ts";
import im2col from "./im2col.ref.ts";
import layerNorm from "./layer_norm.ref.ts";
import linear from "./linear.ref.ts";
import linearMatrix from "./linear_matrix.ref.ts";
import linearQuantized from "./linear_quantized.ref.ts";
import linearQuantizedDot from "./linear_quantized_dot.ref.ts";
import linearQuantizedMatrix from "./linear_quantized_matrix.ref.ts";
import linearQuantizedTeam from "./linear_quantized_team.ref.ts";
import linearTeam from "./linear_team.ref.ts";
import quantize from "./quantize.ref.ts";
import resize from "./resize.ref.ts";
import rmsNorm from "./rms_norm.ref.ts";
import ropeKv from "./rope_kv.ref.ts";
import rotaryAttention from "./rotary_attention.ref.ts";
import sample from "./sample.ref.ts";
import sampleLogprobs from "./sample_logprobs.ref.ts";
import scaleBytes from "./scale_bytes.ref.ts";
import sumParts from "./sum_parts.ref.ts";
import swiglu from "./swiglu.ref.ts";

export const suites: readonly AnySuite[] = [
  adaptiveAvgPool2d,
  argmax,
  attention,
  byteRows,
  causalAttention,
  channelMean,
  channelScale,
  depthwiseConv2d,
  embed,
  embedQuantized,
  halfRows,
  im2col,
  layerNorm,
  linear,
  linearMatrix,
  linearQuantized,
  linearQuantizedDot,
  linearQuantizedMatrix,
  linearQuantizedTeam,
  linearTeam,
  quantize,
  resize,
  rmsNorm,
  ropeKv,
  rotaryAttention,
  sample,
  sampleLogprobs,
  scaleBytes,
  sumParts,
  swiglu,
];
