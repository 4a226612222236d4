// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// One row (decoding) on adapters with subgroups of exactly 8 lanes. A lane computes 4 outputs from whole rows of the weight; the
// input comes one element a lane, spread by shuffles. C must be a multiple of 8.

override HAS_BIAS: bool = false;
override ACTIVATION: u32 = 0;  // 1 GELU (erf), 2 ReLU, 3 sigmoid
override HAS_SCALE: bool = false;
override HAS_RESIDUAL: bool = false;

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;                // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<vec4<weight_t>>;  // [O, C]
@group(0) @binding(2) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<scale_t>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

fn erf(v: f32) -> f32 {
  // Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(v) * (1.0 - poly * exp(-v * v));
}

fn finish(row: u32, column: u32, sum: f32) {
  let o = params.first + column;
  var v = sum;
  if (HAS_BIAS) { v += f32(bias[o]); }
  if (ACTIVATION == 1) { v = 0.5 * v * (1.0 + erf(v * 0.70710678)); }
  if (ACTIVATION == 2) { v = max(v, 0.0); }
  if (ACTIVATION == 3) { v = 1.0 / (1.0 + exp(-v)); }
  if (HAS_SCALE) { v *= f32(scale[o]); }
  let at = row * params.stride + o;
  if (HAS_RESIDUAL) { v += f32(residual[at]); }
  y[at] = y_t(v);
}

fn column(group: u32, lane: u32, j: u32) -> u32 { return group * 32 + j * 8 + lane; }

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let width = params.inputs / 4;
  let last = params.outputs - 1;
  let w0 = min(column(part, lane, 0), last) * width;
  let w1 = min(column(part, lane, 1), last) * width;
  let w2 = min(column(part, lane, 2), last) * width;
  let w3 = min(column(part, lane, 3), last) * width;
  var sums = vec4f();
  for (var c = 0u; c < params.inputs; c += 8) {
    let mine = f32(x[c + lane]);
    let a = vec4f(subgroupShuffle(mine, 0), subgroupShuffle(mine, 1), subgroupShuffle(mine, 2), subgroupShuffle(mine, 3));
    let b = vec4f(subgroupShuffle(mine, 4), subgroupShuffle(mine, 5), subgroupShuffle(mine, 6), subgroupShuffle(mine, 7));
    let at = c / 4;
    sums.x += dot(a, vec4f(weight[w0 + at])) + dot(b, vec4f(weight[w0 + at + 1]));
    sums.y += dot(a, vec4f(weight[w1 + at])) + dot(b, vec4f(weight[w1 + at + 1]));
    sums.z += dot(a, vec4f(weight[w2 + at])) + dot(b, vec4f(weight[w2 + at + 1]));
    sums.w += dot(a, vec4f(weight[w3 + at])) + dot(b, vec4f(weight[w3 + at + 1]));
  }
  for (var j = 0u; j < 4; j++) {
    let o = column(part, lane, j);
    if (o < params.outputs) { finish(0, o, sums[j]); }
  }
}
