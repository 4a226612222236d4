// y[r, o] = residual[r, o] + bias[o] + Σ_c x[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32])
//
// For CPUs, whose subgroups always have LANES lanes, 8 or 16. A lane computes 8 or 32 rows × 4 outputs. It loads the codes of its 4
// outputs by vectors, turns 4 inputs' worth at a time into numbers, and loads 4 inputs of a row for each band of as many rows as
// lanes, which the others get by broadcasts.

override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;
override TALL: bool = false;  // 32 rows
override SWIGLU: bool = false;  // y[r, o] = sum[r, o + O/2] · silu(sum[r, o]): gates, then as many ups
override X_F16: bool = false;

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
  groups: u32,   // G, groups of 32 inputs, padded to an even number
}

@group(0) @binding(0) var<storage, read> x: array<vec2u>;              // [R, C] of x_t
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;          // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

fn swiglu(gate: f32, up: f32) -> f32 {
  let e = exp(-abs(gate));
  return up * gate * select(e, 1.0, gate >= 0.0) / (1.0 + e);
}

fn finish(row: u32, column: u32, sum: f32) {
  let o = params.first + column;
  var v = sum;
  if (HAS_BIAS) { v += f32(bias[o]); }
  let at = row * params.stride + o;
  if (HAS_RESIDUAL) { v += f32(residual[at]); }
  y[at] = y_t(v);
}

// Scale and offset of group g of the output whose scales begin at `at`.
fn scale_of(at: u32, g: u32) -> vec2f {
  if (FORMAT == 1) { return unpack2x16float(scales[at + g * 8]); }
  let pair = unpack2x16float(scales[at + g / 2 * 8]);
  return vec2f(select(pair.x, pair.y, g % 2 == 1), 0.0);
}

// Four codes of a vector as numbers: half a word, or a whole one of int8. int4 without offset counts from 8.
fn four(v: vec4u, i: u32) -> vec4f {
  if (FORMAT == 2) { return vec4f(bitcast<vec4i>(vec4u(v[i]) << vec4u(24, 16, 8, 0)) >> vec4u(24)); }
  let w = v[i / 2] >> (i % 2 * 16);
  if (FORMAT == 1) { return vec4f((vec4u(w) >> vec4u(0, 4, 8, 12)) & vec4u(15)); }
  return vec4f(bitcast<vec4i>(vec4u(w ^ 0x8888) << vec4u(28, 24, 20, 16)) >> vec4u(28));
}

// The weights of 4 inputs, each of 4 outputs.
fn weights(w: mat4x4f, t: mat2x4f) -> mat4x4f {
  let scaled = mat4x4f(w[0] * t[0], w[1] * t[0], w[2] * t[0], w[3] * t[0]);
  if (FORMAT != 1) { return scaled; }
  return scaled + mat4x4f(t[1], t[1], t[1], t[1]);
}

// Four inputs of one row, counted in fours.
fn inputs(at: u32) -> vec4f {
  if (!X_F16) { return vec4f(bitcast<vec2f>(x[2 * at]), bitcast<vec2f>(x[2 * at + 1])); }
  let w = x[at];
  return vec4f(unpack2x16float(w.x), unpack2x16float(w.y));
}

// The products of 4 inputs of one row with the weights of 4 outputs.
fn multiply(v: vec4f, w: mat4x4f) -> vec4f { return v.x * w[0] + v.y * w[1] + v.z * w[2] + v.w * w[3]; }

const WIDTH = LANES / 8;  // blocks of 8 outputs side by side
const BANDS = 32 / LANES;  // of as many rows as lanes
alias Sums = array<vec4f, 16>;

// Adds the products of 4 inputs of as many rows as lanes, or of 8: each lane holds those of one.
fn add(sums: ptr<function, Sums>, v: vec4f, w: mat4x4f) {
  (*sums)[0] += multiply(subgroupBroadcast(v, 0), w); (*sums)[1] += multiply(subgroupBroadcast(v, 1), w);
  (*sums)[2] += multiply(subgroupBroadcast(v, 2), w); (*sums)[3] += multiply(subgroupBroadcast(v, 3), w);
  (*sums)[4] += multiply(subgroupBroadcast(v, 4), w); (*sums)[5] += multiply(subgroupBroadcast(v, 5), w);
  (*sums)[6] += multiply(subgroupBroadcast(v, 6), w); (*sums)[7] += multiply(subgroupBroadcast(v, 7), w);
  if (!TALL || LANES == 8) { return; }
  (*sums)[8] += multiply(subgroupBroadcast(v, 8), w); (*sums)[9] += multiply(subgroupBroadcast(v, 9), w);
  (*sums)[10] += multiply(subgroupBroadcast(v, 10), w); (*sums)[11] += multiply(subgroupBroadcast(v, 11), w);
  (*sums)[12] += multiply(subgroupBroadcast(v, 12), w); (*sums)[13] += multiply(subgroupBroadcast(v, 13), w);
  (*sums)[14] += multiply(subgroupBroadcast(v, 14), w); (*sums)[15] += multiply(subgroupBroadcast(v, 15), w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = group.y * groups.x + group.x;
  let tall = select(8u, 32u, TALL);  // rows
  let parts_down = (params.rows + tall - 1) / tall;
  let row = part % parts_down * tall;
  // Blocks of 8 outputs; with SWIGLU two of gates and the two of ups that belong to them.
  let blocks = (params.outputs + 7) / 8;
  let gates = (part / parts_down * 2 + vec2u(0, 1)) * WIDTH + lane / 8;
  let any = (part / parts_down * 4 + vec4u(0, 1, 2, 3)) * WIDTH + lane / 8;
  let block = min(select(any, vec4u(gates, gates + blocks / 2), SWIGLU), vec4u(blocks - 1));
  let code = block * params.groups * select(8u, 16u, FORMAT == 2) + lane % 8;
  let scale = block * params.groups * select(4u, 8u, FORMAT == 1) + lane % 8;
  let fours = select(8u, 4u, FORMAT == 2);  // in a vector of codes
  let starts = min(vec4u(row + lane) + LANES * vec4u(0, 1, 2, 3), vec4u(params.rows - 1)) * (params.inputs / 4);
  var sums: array<Sums, BANDS>;
  for (var unit = 0u; unit < params.inputs / (4 * fours); unit++) {
    let g = unit * fours / 8;
    let t = transpose(mat4x2f(scale_of(scale.x, g), scale_of(scale.y, g), scale_of(scale.z, g), scale_of(scale.w, g)));
    let k = code + unit * 8;
    let k0 = codes[k.x]; let k1 = codes[k.y]; let k2 = codes[k.z]; let k3 = codes[k.w];
    for (var i = 0u; i < fours; i++) {
      let at = starts + unit * fours + i;
      let a = inputs(at.x);
      var b: vec4f; var c: vec4f; var d: vec4f;
      if (TALL) { b = inputs(at.y); }
      if (TALL && BANDS == 4) { c = inputs(at.z); d = inputs(at.w); }
      let w = weights(transpose(mat4x4f(four(k0, i), four(k1, i), four(k2, i), four(k3, i))), t);
      add(&sums[0], a, w);
      if (TALL) { add(&sums[1], b, w); }
      if (TALL && BANDS == 4) { add(&sums[BANDS - 2], c, w); add(&sums[BANDS - 1], d, w); }
    }
  }
  let each = select(4u, 2u, SWIGLU);  // results of a row
  let column = part / parts_down * each * LANES + lane;
  let all = sums;  // of which elements are chosen, which would keep the sums themselves in memory
  // One loop, since compilers would unroll two, and take four times as long.
  for (var i = 0u; i < each * tall; i++) {
    let r = i / each;
    let j = i % each;
    let at = vec2u(row + r, column + j * LANES);
    var v = all[r / LANES][r % LANES][j];
    if (SWIGLU) { v = swiglu(v, all[r / LANES][r % LANES][j + 2]); }
    if (at.x < params.rows && at.y < params.outputs * each / 4) { finish(at.x, at.y, v); }
  }
}
