// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// For adapters with subgroups of exactly 8 lanes, which are CPUs: there the number of loaded words decides the speed. A lane
// computes 8 rows × 4 outputs. Every 8 inputs it loads one element of each row, which the others get by shuffles, and 8 inputs
// of its own 4 outputs. C must be a multiple of 8.

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

var<private> x_lane: array<f32, 8>;
var<private> sums: array<vec4f, 8>;

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

// Adds the products of the input that lane `c` loaded; `w` is that input's weight for the 4 outputs.
fn multiply(c: u32, w: vec4f) {
  sums[0] += subgroupShuffle(x_lane[0], c) * w;
  sums[1] += subgroupShuffle(x_lane[1], c) * w;
  sums[2] += subgroupShuffle(x_lane[2], c) * w;
  sums[3] += subgroupShuffle(x_lane[3], c) * w;
  sums[4] += subgroupShuffle(x_lane[4], c) * w;
  sums[5] += subgroupShuffle(x_lane[5], c) * w;
  sums[6] += subgroupShuffle(x_lane[6], c) * w;
  sums[7] += subgroupShuffle(x_lane[7], c) * w;
}

fn column(group: u32, lane: u32, j: u32) -> u32 { return group * 32 + j * 8 + lane; }

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let width = params.inputs / 4;
  let last = params.outputs - 1;
  let w0 = min(column(group.x, lane, 0), last) * width;
  let w1 = min(column(group.x, lane, 1), last) * width;
  let w2 = min(column(group.x, lane, 2), last) * width;
  let w3 = min(column(group.x, lane, 3), last) * width;
  for (var c = 0u; c < params.inputs; c += 8) {
    for (var r = 0u; r < 8; r++) {
      x_lane[r] = f32(x[min(group.y * 8 + r, params.rows - 1) * params.inputs + c + lane]);
    }
    let at = c / 4;
    let a0 = vec4f(weight[w0 + at]);
    let a1 = vec4f(weight[w1 + at]);
    let a2 = vec4f(weight[w2 + at]);
    let a3 = vec4f(weight[w3 + at]);
    let b0 = vec4f(weight[w0 + at + 1]);
    let b1 = vec4f(weight[w1 + at + 1]);
    let b2 = vec4f(weight[w2 + at + 1]);
    let b3 = vec4f(weight[w3 + at + 1]);
    multiply(0, vec4f(a0.x, a1.x, a2.x, a3.x));
    multiply(1, vec4f(a0.y, a1.y, a2.y, a3.y));
    multiply(2, vec4f(a0.z, a1.z, a2.z, a3.z));
    multiply(3, vec4f(a0.w, a1.w, a2.w, a3.w));
    multiply(4, vec4f(b0.x, b1.x, b2.x, b3.x));
    multiply(5, vec4f(b0.y, b1.y, b2.y, b3.y));
    multiply(6, vec4f(b0.z, b1.z, b2.z, b3.z));
    multiply(7, vec4f(b0.w, b1.w, b2.w, b3.w));
  }
  for (var r = 0u; r < 8; r++) {
    let row = group.y * 8 + r;
    for (var j = 0u; j < 4; j++) {
      let o = column(group.x, lane, j);
      if (row < params.rows && o < params.outputs) { finish(row, o, sums[r][j]); }
    }
  }
}
