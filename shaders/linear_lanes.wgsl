// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// For adapters with subgroups of exactly 8 lanes, which are CPUs: there the number of loaded words decides the speed. A lane
// computes 8 rows × 4 outputs. Every 8 inputs it loads one element of each row, which the others get by shuffles, and 8 inputs
// of its own 4 outputs, as packed words. C must be a multiple of 8.

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

struct Inputs { a: vec4f, b: vec4f }  // 8 inputs of one output

fn load(output: u32, c: u32) -> Inputs {
  if (WEIGHT_F16) {
    let w = weight[(output * params.inputs + c) / 8];
    let low = vec4f(unpack2x16float(w.x), unpack2x16float(w.y));
    return Inputs(low, vec4f(unpack2x16float(w.z), unpack2x16float(w.w)));
  }
  let at = (output * params.inputs + c) / 4;
  return Inputs(bitcast<vec4f>(weight[at]), bitcast<vec4f>(weight[at + 1]));
}

// The products of one row with 8 inputs: `v` holds one of them per lane, `w` the weights of 4 outputs.
fn multiply(v: f32, w: array<vec4f, 8>) -> vec4f {
  var sum = subgroupShuffle(v, 0) * w[0];
  sum += subgroupShuffle(v, 1) * w[1];
  sum += subgroupShuffle(v, 2) * w[2];
  sum += subgroupShuffle(v, 3) * w[3];
  sum += subgroupShuffle(v, 4) * w[4];
  sum += subgroupShuffle(v, 5) * w[5];
  sum += subgroupShuffle(v, 6) * w[6];
  sum += subgroupShuffle(v, 7) * w[7];
  return sum;
}

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts_down = (params.rows + 7) / 8;
  let row = part % parts_down * 8;
  let column = part / parts_down * 32 + lane;
  let last = params.outputs - 1;
  let o = min(vec4u(column, column + 8, column + 16, column + 24), vec4u(last));
  let end = params.rows - 1;
  let x0 = min(row + 0, end) * params.inputs + lane;
  let x1 = min(row + 1, end) * params.inputs + lane;
  let x2 = min(row + 2, end) * params.inputs + lane;
  let x3 = min(row + 3, end) * params.inputs + lane;
  let x4 = min(row + 4, end) * params.inputs + lane;
  let x5 = min(row + 5, end) * params.inputs + lane;
  let x6 = min(row + 6, end) * params.inputs + lane;
  let x7 = min(row + 7, end) * params.inputs + lane;
  var sum0 = vec4f();
  var sum1 = vec4f();
  var sum2 = vec4f();
  var sum3 = vec4f();
  var sum4 = vec4f();
  var sum5 = vec4f();
  var sum6 = vec4f();
  var sum7 = vec4f();
  for (var c = 0u; c < params.inputs; c += 8) {
    let w0 = load(o.x, c);
    let w1 = load(o.y, c);
    let w2 = load(o.z, c);
    let w3 = load(o.w, c);
    let a = transpose(mat4x4f(w0.a, w1.a, w2.a, w3.a));
    let b = transpose(mat4x4f(w0.b, w1.b, w2.b, w3.b));
    let w = array(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]);
    sum0 += multiply(f32(x[x0 + c]), w);
    sum1 += multiply(f32(x[x1 + c]), w);
    sum2 += multiply(f32(x[x2 + c]), w);
    sum3 += multiply(f32(x[x3 + c]), w);
    sum4 += multiply(f32(x[x4 + c]), w);
    sum5 += multiply(f32(x[x5 + c]), w);
    sum6 += multiply(f32(x[x6 + c]), w);
    sum7 += multiply(f32(x[x7 + c]), w);
  }
  let sums = array(sum0, sum1, sum2, sum3, sum4, sum5, sum6, sum7);
  for (var r = 0u; r < 8 && row + r < params.rows; r++) {
    for (var j = 0u; j < 4; j++) {
      if (column + j * 8 < params.outputs) { finish(row + r, column + j * 8, sums[r][j]); }
    }
  }
}
