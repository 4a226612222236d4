// y[r, o] = residual[r, o] + scale[o] · act(factor[r] · Σ_p x[p, r, o] + bias[o])
//
// The end of a product whose inputs were cut into parts. One thread per 4 outputs. O must be a multiple of 4.

override WORKGROUP_SIZE: u32 = 64;
override HAS_FACTOR: bool = false;
override HAS_BIAS: bool = false;
override ACTIVATION: u32 = 0;  // 1 GELU (erf), 2 ReLU, 3 sigmoid
override HAS_SCALE: bool = false;
override HAS_RESIDUAL: bool = false;

struct Params {
  parts: u32,    // P
  rows: u32,     // R
  outputs: u32,  // of x
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of y
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;                // [P, R, outputs]
@group(0) @binding(1) var<storage, read> factor: array<f32>;                 // [R]
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<vec4<scale_t>>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<vec4<residual_t>>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<y_t>>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: vec4f) -> vec4f {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= vec4f(0));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let quads = params.outputs / 4;
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (index >= params.rows * quads) { return; }
  var v: vec4f;
  for (var p = 0u; p < params.parts; p++) { v += vec4f(x[p * params.rows * quads + index]); }
  let row = index / quads;
  let o = params.first / 4 + index % quads;
  if (HAS_FACTOR) { v *= factor[row]; }
  if (HAS_BIAS) { v += vec4f(bias[o]); }
  if (ACTIVATION == 1) { v = gelu(v); }
  if (ACTIVATION == 2) { v = max(v, vec4f(0)); }
  if (ACTIVATION == 3) { v = 1.0 / (1.0 + exp(-v)); }
  if (HAS_SCALE) { v *= vec4f(scale[o]); }
  let at = row * (params.stride / 4) + o;
  if (HAS_RESIDUAL) { v += vec4f(residual[at]); }
  y[at] = vec4<y_t>(v);
}
