// y[r, o] = residual[r, o] + bias[o] + Σ_c x[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32])
//
// For adapters with subgroups of exactly 8 lanes. A lane computes 8 or 16 rows × 4 outputs. It loads the codes of its 4 outputs by
// vectors, turns 4 inputs' worth at a time into numbers, and loads as many inputs of one row or two, which the others get by shuffles.

override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;
override TALL: bool = false;  // 16 rows

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
  groups: u32,   // G, groups of 32 inputs, padded to an even number
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;          // [R, C]
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;          // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

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

// Codes as numbers: the low four of a word, and the high four of int4; int4 without offset counts from 8.
fn low(w: u32) -> vec4f {
  if (FORMAT == 2) { return vec4f(bitcast<vec4i>(vec4u(w) << vec4u(24, 16, 8, 0)) >> vec4u(24)); }
  if (FORMAT == 1) { return vec4f((vec4u(w) >> vec4u(0, 4, 8, 12)) & vec4u(15)); }
  return vec4f(bitcast<vec4i>(vec4u(w ^ 0x8888) << vec4u(28, 24, 20, 16)) >> vec4u(28));
}

fn high(w: u32) -> vec4f { return low(w >> 16); }

// The weights of 4 inputs, each of 4 outputs.
fn weights(w: mat4x4f, t: mat2x4f) -> mat4x4f {
  let scaled = mat4x4f(w[0] * t[0], w[1] * t[0], w[2] * t[0], w[3] * t[0]);
  if (FORMAT != 1) { return scaled; }
  return scaled + mat4x4f(t[1], t[1], t[1], t[1]);
}

// The products of 4 inputs of one row with the weights of 4 outputs.
fn multiply(v: vec4f, w: mat4x4f) -> vec4f {
  return v.x * w[0] + v.y * w[1] + v.z * w[2] + v.w * w[3];
}

alias Sums = array<vec4f, 16>;

// Adds the products of 4 inputs of all rows: each lane holds those of one row, and of the row 8 below it.
fn add(sums: ptr<function, Sums>, upper: vec4f, lower: vec4f, w: mat4x4f) {
  (*sums)[0] += multiply(subgroupShuffle(upper, 0), w);
  (*sums)[1] += multiply(subgroupShuffle(upper, 1), w);
  (*sums)[2] += multiply(subgroupShuffle(upper, 2), w);
  (*sums)[3] += multiply(subgroupShuffle(upper, 3), w);
  (*sums)[4] += multiply(subgroupShuffle(upper, 4), w);
  (*sums)[5] += multiply(subgroupShuffle(upper, 5), w);
  (*sums)[6] += multiply(subgroupShuffle(upper, 6), w);
  (*sums)[7] += multiply(subgroupShuffle(upper, 7), w);
  if (!TALL) { return; }
  (*sums)[8] += multiply(subgroupShuffle(lower, 0), w);
  (*sums)[9] += multiply(subgroupShuffle(lower, 1), w);
  (*sums)[10] += multiply(subgroupShuffle(lower, 2), w);
  (*sums)[11] += multiply(subgroupShuffle(lower, 3), w);
  (*sums)[12] += multiply(subgroupShuffle(lower, 4), w);
  (*sums)[13] += multiply(subgroupShuffle(lower, 5), w);
  (*sums)[14] += multiply(subgroupShuffle(lower, 6), w);
  (*sums)[15] += multiply(subgroupShuffle(lower, 7), w);
}

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let tall = select(8u, 16u, TALL);
  let parts_down = (params.rows + tall - 1) / tall;
  let row = part % parts_down * tall;
  let block = min(part / parts_down * 4 + vec4u(0, 1, 2, 3), vec4u((params.outputs + 7) / 8 - 1));
  let code = block * params.groups * select(8u, 16u, FORMAT == 2) + lane;
  let scale = block * params.groups * select(4u, 8u, FORMAT == 1) + lane;
  let width = select(2u, 1u, FORMAT == 2);  // vectors of x per word
  var upper = min(row + lane, params.rows - 1) * (params.inputs / 4);
  var lower = min(row + lane + 8, params.rows - 1) * (params.inputs / 4);
  var sums: Sums;
  for (var unit = 0u; unit < params.inputs / (16 * width); unit++) {
    let g = unit * width / 2;
    let t = transpose(mat4x2f(scale_of(scale.x, g), scale_of(scale.y, g), scale_of(scale.z, g), scale_of(scale.w, g)));
    var w0 = codes[code.x + unit * 8];
    var w1 = codes[code.y + unit * 8];
    var w2 = codes[code.z + unit * 8];
    var w3 = codes[code.w + unit * 8];
    for (var i = 0u; i < 4; i++) {
      let a = weights(transpose(mat4x4f(low(w0.x), low(w1.x), low(w2.x), low(w3.x))), t);
      add(&sums, vec4f(x[upper]), vec4f(x[lower]), a);
      if (FORMAT != 2) {
        let b = weights(transpose(mat4x4f(high(w0.x), high(w1.x), high(w2.x), high(w3.x))), t);
        add(&sums, vec4f(x[upper + 1]), vec4f(x[lower + 1]), b);
      }
      upper += width;
      lower += width;
      w0 = w0.yzwx;
      w1 = w1.yzwx;
      w2 = w2.yzwx;
      w3 = w3.yzwx;
    }
  }
  let column = part / parts_down * 32 + lane;
  let all = sums;  // of which elements are chosen, which would keep the sums themselves in memory
  for (var r = 0u; r < tall && row + r < params.rows; r++) {
    for (var j = 0u; j < 4; j++) {
      if (column + j * 8 < params.outputs) { finish(row + r, column + j * 8, all[r][j]); }
    }
  }
}
