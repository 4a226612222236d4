// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// As linear_lanes.wgsl for many rows: a lane computes 32 rows × 4 neighbouring outputs, so a loaded weight serves as many products.
// More rows, or more than 4 inputs at a time, pass the instruction cache of a CPU. C, O and the start of a part must be multiples of 4.

override WEIGHT_F16: bool = false;
override X_F16: bool = false;
override HAS_BIAS: bool = false;
override ACTIVATION: u32 = 0;  // 1 GELU (erf), 2 ReLU, 3 sigmoid
override HAS_SCALE: bool = false;
override HAS_RESIDUAL: bool = false;
override SWIGLU: bool = false;  // y[r, o] = sum[r, o + O/2] · silu(sum[r, o]): gates, then as many ups

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
}

@group(0) @binding(0) var<storage, read> x: array<vec2u>;               // [R, C] of x_t
@group(0) @binding(1) var<storage, read> weight: array<vec2u>;         // [O, C] of weight_t
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<vec4<scale_t>>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<vec4<residual_t>>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<vec2<y_t>>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: vec4f) -> vec4f {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= vec4f(0));
}

fn swiglu(gate: vec2f, up: vec2f) -> vec2f {
  let e = exp(-abs(gate));
  return up * gate * select(e, vec2f(1), gate >= vec2f(0)) / (1.0 + e);
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
  y[2 * at] = vec2<y_t>(v.xy);
  y[2 * at + 1] = vec2<y_t>(v.zw);
}

fn halves(w: vec2u) -> vec4f { return vec4f(unpack2x16float(w.x), unpack2x16float(w.y)); }

// Four neighbours, counted in fours.
fn load_weight(at: u32) -> vec4f {
  if (WEIGHT_F16) { return halves(weight[at]); }
  return vec4f(bitcast<vec2f>(weight[2 * at]), bitcast<vec2f>(weight[2 * at + 1]));
}

fn load_x(at: u32) -> vec4f {
  if (X_F16) { return halves(x[at]); }
  return vec4f(bitcast<vec2f>(x[2 * at]), bitcast<vec2f>(x[2 * at + 1]));
}

// The products of 4 inputs of one row with the weights of 4 outputs.
fn multiply(v: vec4f, w: mat4x4f) -> vec4f {
  return v.x * w[0] + v.y * w[1] + v.z * w[2] + v.w * w[3];
}

const BANDS = 32 / LANES;
alias Sums = array<vec4f, 16>;  // of a band of as many rows as lanes

// Adds the products of 4 inputs of as many rows as lanes: each lane holds those of one.
fn add(sums: ptr<function, Sums>, v: vec4f, w: mat4x4f) {
  (*sums)[0] += multiply(subgroupBroadcast(v, 0), w); (*sums)[1] += multiply(subgroupBroadcast(v, 1), w);
  (*sums)[2] += multiply(subgroupBroadcast(v, 2), w); (*sums)[3] += multiply(subgroupBroadcast(v, 3), w);
  (*sums)[4] += multiply(subgroupBroadcast(v, 4), w); (*sums)[5] += multiply(subgroupBroadcast(v, 5), w);
  (*sums)[6] += multiply(subgroupBroadcast(v, 6), w); (*sums)[7] += multiply(subgroupBroadcast(v, 7), w);
  if (LANES == 8) { return; }
  (*sums)[8] += multiply(subgroupBroadcast(v, 8), w); (*sums)[9] += multiply(subgroupBroadcast(v, 9), w);
  (*sums)[10] += multiply(subgroupBroadcast(v, 10), w); (*sums)[11] += multiply(subgroupBroadcast(v, 11), w);
  (*sums)[12] += multiply(subgroupBroadcast(v, 12), w); (*sums)[13] += multiply(subgroupBroadcast(v, 13), w);
  (*sums)[14] += multiply(subgroupBroadcast(v, 14), w); (*sums)[15] += multiply(subgroupBroadcast(v, 15), w);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts_down = (params.rows + 31) / 32;
  let row = part % parts_down * 32;
  // Four outputs, or with SWIGLU two gates and the two ups that belong to them.
  let each = select(4u, 2u, SWIGLU);
  let results = params.outputs * each / 4;
  let column = (part / parts_down * LANES + lane) * each;
  let width = params.inputs / 4;
  let w = (min(column, results - each) + select(vec4u(0, 1, 2, 3), vec4u(0, 1, results, results + 1), SWIGLU)) * width;
  let v = min(vec4u(row + lane) + LANES * vec4u(0, 1, 2, 3), vec4u(params.rows - 1)) * width;
  var sums: array<Sums, BANDS>;
  for (var c = 0u; c < width; c++) {
    let weights = transpose(
      mat4x4f(load_weight(w.x + c), load_weight(w.y + c), load_weight(w.z + c), load_weight(w.w + c)));
    let a = load_x(v.x + c);
    let b = load_x(v.y + c);
    var d: vec4f;
    var e: vec4f;
    if (BANDS == 4) {
      d = load_x(v.z + c);
      e = load_x(v.w + c);
    }
    add(&sums[0], a, weights);
    add(&sums[1], b, weights);
    if (BANDS == 4) {
      add(&sums[BANDS - 2], d, weights);
      add(&sums[BANDS - 1], e, weights);
    }
  }
  if (column >= results) { return; }
  let all = sums;  // of which elements are chosen, which would keep the sums themselves in memory
  // A count that compilers see no bound of: they would unroll the loop, and take ten times as long.
  let count = select(32u, params.rows - row, params.rows < row + 32);
  for (var r = 0u; r < count; r++) {
    let sum = all[r / LANES][r % LANES];
    if (!SWIGLU) {
      finish(row + r, (params.first + column) / 4, sum);
      continue;
    }
    y[((row + r) * params.stride + column) / 2] = vec2<y_t>(swiglu(sum.xy, sum.zw));
  }
}
