// y[b, h, w, o] = act(bias[o] + Σ_{i,j} x[b, h + i - K/2, w + j - K/2, o] · weight[i, j, o]), zero outside the map
//
// Depthwise convolution of stride 1, O = C, O a multiple of 4. A thread computes 4 channels of 8 neighbouring outputs of a
// row, so that each weight is loaded once for 8 outputs and each input once a kernel row.

override WORKGROUP_SIZE: u32 = 32;
override HAS_BIAS: bool = false;
override GELU: bool = false;

struct Params {
  threads: u32,  // B · H · strips · vectors
  height: u32,
  width: u32,
  vectors: u32,  // O / 4
  strips: u32,   // ⌈W / 8⌉
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;            // [B, H, W, C]
@group(0) @binding(1) var<storage, read> weight: array<vec4<weight_t>>;  // [K, K, O]
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;      // [O]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;      // [B, H, W, O]
@group(1) @binding(0) var<uniform> params: Params;

const STRIP = 8u;

fn erf(v: f32) -> f32 {
  // Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(v) * (1.0 - poly * exp(-v * v));
}

fn gelu(v: f32) -> f32 { return 0.5 * v * (1.0 + erf(v * 0.70710678)); }

fn gelu4(v: vec4f) -> vec4f { return vec4f(gelu(v.x), gelu(v.y), gelu(v.z), gelu(v.w)); }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (index >= params.threads) { return; }
  let o = index % params.vectors;
  let column = (index / params.vectors) % params.strips * STRIP;
  let row = (index / params.vectors / params.strips) % params.height;
  let image = index / params.vectors / params.strips / params.height;
  var start = vec4f();
  if (HAS_BIAS) { start = vec4f(bias[o]); }
  var sums: array<vec4f, STRIP>;
  for (var p = 0u; p < STRIP; p++) { sums[p] = start; }
  for (var i = 0u; i < KERNEL; i++) {
    // Wraps below zero, so one comparison covers both edges.
    let h = row + i - KERNEL / 2;
    if (h >= params.height) { continue; }
    let line = (image * params.height + h) * params.width;
    var taps: array<vec4f, KERNEL>;
    for (var j = 0u; j < KERNEL; j++) { taps[j] = vec4f(weight[(i * KERNEL + j) * params.vectors + o]); }
    for (var q = 0u; q < STRIP + KERNEL - 1; q++) {
      let w = column + q - KERNEL / 2;
      var value = vec4f();
      if (w < params.width) { value = vec4f(x[(line + w) * params.vectors + o]); }
      for (var p = 0u; p < STRIP; p++) {
        if (q >= p && q - p < KERNEL) { sums[p] += value * taps[q - p]; }
      }
    }
  }
  for (var p = 0u; p < STRIP; p++) {
    if (column + p >= params.width) { break; }
    var v = sums[p];
    if (GELU) { v = gelu4(v); }
    y[((image * params.height + row) * params.width + column + p) * params.vectors + o] = vec4<y_t>(v);
  }
}
