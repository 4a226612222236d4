// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// Few rows (decoding) on any GPU: one workgroup per row and output. Its threads read the weight's row side by side, and the
// partial sums are added pairwise.

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

@group(0) @binding(0) var<storage, read> x: array<x_t>;                // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<weight_t>;  // [O, C]
@group(0) @binding(2) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<scale_t>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP_SIZE>;

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
  let index = group.y * groups.x + group.x;
  let row = index / params.outputs;
  let column = index % params.outputs;
  if (row >= params.rows) { return; }
  var sum = 0.0;
  for (var c = thread; c < params.inputs; c += WORKGROUP_SIZE) {
    sum += f32(x[row * params.inputs + c]) * f32(weight[column * params.inputs + c]);
  }
  partial[thread] = sum;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
  }
  if (thread == 0) { finish(row, column, partial[0]); }
}
