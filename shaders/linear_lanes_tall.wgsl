// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// As linear_lanes.wgsl for many rows: a lane computes 2·LANES rows × 4 neighbouring outputs, so a loaded weight serves as many
// products. More rows pass the instruction cache of a CPU. C must be a multiple of 8; O and the start of a part multiples of 4.

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

fn finish(row: u32, quad: u32, sum: vec4f) {
  var v = sum;
  if (HAS_BIAS) { v += vec4f(bias[quad]); }
  if (ACTIVATION == 1) { v = gelu(v); }
  if (ACTIVATION == 2) { v = max(v, vec4f(0)); }
  if (ACTIVATION == 3) { v = 1.0 / (1.0 + exp(-v)); }
  if (HAS_SCALE) { v *= vec4f(scale[quad]); }
  let at = row * params.stride / 4 + quad;
  if (HAS_RESIDUAL) { v += vec4f(residual[at]); }
  y[at] = vec4<y_t>(v);
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

alias Sums = array<vec4f, 16>;  // of as many rows as lanes

// Adds the products of 8 inputs of all rows: each lane holds those of one row.
fn add(sums: ptr<function, Sums>, v: Inputs, a: mat4x4f, b: mat4x4f) {
  (*sums)[0] += multiply(subgroupBroadcast(v.a, 0), a) + multiply(subgroupBroadcast(v.b, 0), b);
  (*sums)[1] += multiply(subgroupBroadcast(v.a, 1), a) + multiply(subgroupBroadcast(v.b, 1), b);
  (*sums)[2] += multiply(subgroupBroadcast(v.a, 2), a) + multiply(subgroupBroadcast(v.b, 2), b);
  (*sums)[3] += multiply(subgroupBroadcast(v.a, 3), a) + multiply(subgroupBroadcast(v.b, 3), b);
  (*sums)[4] += multiply(subgroupBroadcast(v.a, 4), a) + multiply(subgroupBroadcast(v.b, 4), b);
  (*sums)[5] += multiply(subgroupBroadcast(v.a, 5), a) + multiply(subgroupBroadcast(v.b, 5), b);
  (*sums)[6] += multiply(subgroupBroadcast(v.a, 6), a) + multiply(subgroupBroadcast(v.b, 6), b);
  (*sums)[7] += multiply(subgroupBroadcast(v.a, 7), a) + multiply(subgroupBroadcast(v.b, 7), b);
  if (LANES == 8) { return; }
  (*sums)[8] += multiply(subgroupBroadcast(v.a, 8), a) + multiply(subgroupBroadcast(v.b, 8), b);
  (*sums)[9] += multiply(subgroupBroadcast(v.a, 9), a) + multiply(subgroupBroadcast(v.b, 9), b);
  (*sums)[10] += multiply(subgroupBroadcast(v.a, 10), a) + multiply(subgroupBroadcast(v.b, 10), b);
  (*sums)[11] += multiply(subgroupBroadcast(v.a, 11), a) + multiply(subgroupBroadcast(v.b, 11), b);
  (*sums)[12] += multiply(subgroupBroadcast(v.a, 12), a) + multiply(subgroupBroadcast(v.b, 12), b);
  (*sums)[13] += multiply(subgroupBroadcast(v.a, 13), a) + multiply(subgroupBroadcast(v.b, 13), b);
  (*sums)[14] += multiply(subgroupBroadcast(v.a, 14), a) + multiply(subgroupBroadcast(v.b, 14), b);
  (*sums)[15] += multiply(subgroupBroadcast(v.a, 15), a) + multiply(subgroupBroadcast(v.b, 15), b);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts_down = (params.rows + 2 * LANES - 1) / (2 * LANES);
  let row = part % parts_down * 2 * LANES;
  let column = (part / parts_down * LANES + lane) * 4;
  let o = min(column, params.outputs - 4);
  let first = min(row + lane, params.rows - 1) * params.inputs;
  let second = min(row + lane + LANES, params.rows - 1) * params.inputs;
  var upper: Sums;
  var lower: Sums;
  for (var c = 0u; c < params.inputs; c += 8) {
    let u = load_x(first, c);
    let v = load_x(second, c);
    let w0 = load_weight(o, c);
    let w1 = load_weight(o + 1, c);
    let w2 = load_weight(o + 2, c);
    let w3 = load_weight(o + 3, c);
    let a = transpose(mat4x4f(w0.a, w1.a, w2.a, w3.a));
    let b = transpose(mat4x4f(w0.b, w1.b, w2.b, w3.b));
    add(&upper, u, a, b);
    add(&lower, v, a, b);
  }
  if (column >= params.outputs) { return; }
  let sums = array(upper, lower);  // of which elements are chosen, which would keep the sums themselves in memory
  for (var r = 0u; r < 2 * LANES && row + r < params.rows; r++) {
    finish(row + r, (params.first + column) / 4, sums[r / LANES][r % LANES]);
  }
}
