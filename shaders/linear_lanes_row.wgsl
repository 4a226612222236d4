// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// One row (decoding) on CPUs, whose subgroups always have LANES lanes, 8 or 16, and compute 32 outputs: a lane computes 4 or 2, from
// whole rows of the weight, which it loads as packed words. More rows at a time are more than caches and prefetchers follow. The
// input comes one element a lane, spread by broadcasts. C must be a multiple of 8.

override WEIGHT_F16: bool = false;
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
@group(0) @binding(1) var<storage, read> weight: array<vec4u>;         // [O, C] of weight_t
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

// The products of 8 inputs with the weights of one output.
fn multiply(a: vec4f, b: vec4f, output: u32, c: u32) -> f32 {
  if (WEIGHT_F16) {
    let w = weight[(output * params.inputs + c) / 8];
    let low = dot(a, vec4f(unpack2x16float(w.x), unpack2x16float(w.y)));
    return low + dot(b, vec4f(unpack2x16float(w.z), unpack2x16float(w.w)));
  }
  let at = (output * params.inputs + c) / 4;
  return dot(a, bitcast<vec4f>(weight[at])) + dot(b, bitcast<vec4f>(weight[at + 1]));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let column = (group.y * groups.x + group.x) * 32 + lane;
  let last = params.outputs - 1;
  let o = min(vec4u(column, column + LANES, column + 2 * LANES, column + 3 * LANES), vec4u(last));
  var sums = vec4f();
  for (var c = 0u; c < params.inputs; c += 8) {
    let v = f32(x[c + lane % 8]);
    let a = vec4f(subgroupBroadcast(v, 0), subgroupBroadcast(v, 1), subgroupBroadcast(v, 2), subgroupBroadcast(v, 3));
    let b = vec4f(subgroupBroadcast(v, 4), subgroupBroadcast(v, 5), subgroupBroadcast(v, 6), subgroupBroadcast(v, 7));
    sums.x += multiply(a, b, o.x, c);
    sums.y += multiply(a, b, o.y, c);
    if (LANES == 16) { continue; }
    sums.z += multiply(a, b, o.z, c);
    sums.w += multiply(a, b, o.w, c);
  }
  for (var j = 0u; j < 32 / LANES; j++) {
    if (column + j * LANES < params.outputs) { finish(0, column + j * LANES, sums[j]); }
  }
}
