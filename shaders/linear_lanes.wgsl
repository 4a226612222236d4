// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// For CPUs, whose subgroups always have LANES lanes, 8 or 16: there the number of loaded words decides the speed. A lane computes 8
// rows × 4 outputs. Every 8 inputs it loads those of one row, which the others get by broadcasts, and the weights of its own 4
// outputs, all as packed words. C must be a multiple of 8.

override WEIGHT_F16: bool = false;
override X_F16: bool = false;
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

@group(0) @binding(0) var<storage, read> x: array<vec4u>;               // [R, C] of x_t
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

struct Inputs { a: vec4f, b: vec4f }  // 8 inputs of one row or output

fn halves(w: vec4u) -> Inputs {
  return Inputs(vec4f(unpack2x16float(w.x), unpack2x16float(w.y)), vec4f(unpack2x16float(w.z), unpack2x16float(w.w)));
}

fn load_weight(output: u32, c: u32) -> Inputs {
  if (WEIGHT_F16) { return halves(weight[(output * params.inputs + c) / 8]); }
  let at = (output * params.inputs + c) / 4;
  return Inputs(bitcast<vec4f>(weight[at]), bitcast<vec4f>(weight[at + 1]));
}

fn load_x(start: u32, c: u32) -> Inputs {
  if (X_F16) { return halves(x[(start + c) / 8]); }
  let at = (start + c) / 4;
  return Inputs(bitcast<vec4f>(x[at]), bitcast<vec4f>(x[at + 1]));
}

// The products of 4 inputs of one row with the weights of 4 outputs.
fn multiply(v: vec4f, w: mat4x4f) -> vec4f {
  return v.x * w[0] + v.y * w[1] + v.z * w[2] + v.w * w[3];
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts_down = (params.rows + 7) / 8;
  let row = part % parts_down * 8;
  let column = part / parts_down * 4 * LANES + lane;
  let last = params.outputs - 1;
  let o = min(vec4u(column, column + LANES, column + 2 * LANES, column + 3 * LANES), vec4u(last));
  let start = min(row + lane % 8, params.rows - 1) * params.inputs;
  var sum0 = vec4f();
  var sum1 = vec4f();
  var sum2 = vec4f();
  var sum3 = vec4f();
  var sum4 = vec4f();
  var sum5 = vec4f();
  var sum6 = vec4f();
  var sum7 = vec4f();
  for (var c = 0u; c < params.inputs; c += 8) {
    let v = load_x(start, c);
    let w0 = load_weight(o.x, c);
    let w1 = load_weight(o.y, c);
    let w2 = load_weight(o.z, c);
    let w3 = load_weight(o.w, c);
    let a = transpose(mat4x4f(w0.a, w1.a, w2.a, w3.a));
    let b = transpose(mat4x4f(w0.b, w1.b, w2.b, w3.b));
    sum0 += multiply(subgroupBroadcast(v.a, 0), a) + multiply(subgroupBroadcast(v.b, 0), b);
    sum1 += multiply(subgroupBroadcast(v.a, 1), a) + multiply(subgroupBroadcast(v.b, 1), b);
    sum2 += multiply(subgroupBroadcast(v.a, 2), a) + multiply(subgroupBroadcast(v.b, 2), b);
    sum3 += multiply(subgroupBroadcast(v.a, 3), a) + multiply(subgroupBroadcast(v.b, 3), b);
    sum4 += multiply(subgroupBroadcast(v.a, 4), a) + multiply(subgroupBroadcast(v.b, 4), b);
    sum5 += multiply(subgroupBroadcast(v.a, 5), a) + multiply(subgroupBroadcast(v.b, 5), b);
    sum6 += multiply(subgroupBroadcast(v.a, 6), a) + multiply(subgroupBroadcast(v.b, 6), b);
    sum7 += multiply(subgroupBroadcast(v.a, 7), a) + multiply(subgroupBroadcast(v.b, 7), b);
  }
  let sums = array(sum0, sum1, sum2, sum3, sum4, sum5, sum6, sum7);
  // One loop, of a count that compilers see no bound of: they would unroll it, and take four times as long.
  let count = 4 * select(8u, params.rows - row, params.rows < row + 8);
  for (var i = 0u; i < count; i++) {
    let at = vec2u(row + i / 4, column + i % 4 * LANES);
    if (at.y < params.outputs) { finish(at.x, at.y, sums[i / 4][i % 4]); }
  }
}
