// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// Few rows (decoding) on any GPU: one workgroup per row and 4 outputs. Its threads read the weight's rows side by side, and the
// partial sums are added pairwise. C must be a multiple of 4.

override WORKGROUP_SIZE: u32 = 64;
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

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;          // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<vec4<weight_t>>;  // [O, C]
@group(0) @binding(2) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<scale_t>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<vec4f, WORKGROUP_SIZE>;

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

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts_across = (params.outputs + 3) / 4;
  let row = part / parts_across;
  let column = part % parts_across * 4;
  if (row >= params.rows) { return; }
  let width = params.inputs / 4;
  let last = params.outputs - 1;
  let w0 = column * width;
  let w1 = min(column + 1, last) * width;
  let w2 = min(column + 2, last) * width;
  let w3 = min(column + 3, last) * width;
  var sums = vec4f();
  for (var c = thread; c < width; c += WORKGROUP_SIZE) {
    let v = vec4f(x[row * width + c]);
    sums.x += dot(v, vec4f(weight[w0 + c]));
    sums.y += dot(v, vec4f(weight[w1 + c]));
    sums.z += dot(v, vec4f(weight[w2 + c]));
    sums.w += dot(v, vec4f(weight[w3 + c]));
  }
  partial[thread] = sums;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
  }
  if (thread < 4 && column + thread < params.outputs) { finish(row, column + thread, partial[0][thread]); }
}
