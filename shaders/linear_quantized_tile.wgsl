// y[r, o] = residual[r, o] + bias[o] + Σ_c x[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32])
//
// For any GPU and any number of rows: a workgroup computes 64 × 64 outputs, each of its 16 × 16 threads 4 × 4 of them, from one
// group of 32 inputs at a time: inputs and weights, as numbers, are staged in workgroup memory.

override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
  groups: u32,   // G, groups of 32 inputs, padded to an even number
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;                // [R, C]
@group(0) @binding(1) var<storage, read> codes: array<u32>;            // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

const TILE = 64u;
const DEPTH = 32u;

var<workgroup> x_tile: array<f32, 2048>;       // [DEPTH][TILE]
var<workgroup> weight_tile: array<f32, 2048>;  // [DEPTH][TILE]

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

// Stages 4 weights of one output.
fn stage(at: u32, codes: vec4f, s: vec2f) {
  let w = codes * s.x + s.y;
  for (var i = 0u; i < 4; i++) { weight_tile[at + i * TILE] = w[i]; }
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) id: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let tile = group.y * groups.x + group.x;
  let tiles_across = (params.outputs + TILE - 1) / TILE;
  let row0 = tile / tiles_across * TILE;
  let column0 = tile % tiles_across * TILE;
  if (row0 >= params.rows) { return; }
  // Staging of weights: one output per thread, and one word of its codes (int8: two).
  let line = thread % TILE;
  let word = thread / TILE;
  let output = min(column0 + line, params.outputs - 1);
  let scale = output / 8 * params.groups * select(4u, 8u, FORMAT == 1) + output % 8;
  var sums: array<vec4f, 4>;
  for (var g = 0u; g < params.inputs / DEPTH; g++) {
    for (var i = thread; i < TILE * DEPTH; i += 256) {
      let row = min(row0 + i / DEPTH, params.rows - 1);
      x_tile[(i % DEPTH) * TILE + i / DEPTH] = f32(x[row * params.inputs + g * DEPTH + i % DEPTH]);
    }
    let s = scale_of(scale, g);
    if (FORMAT == 2) {
      let code = ((output / 8 * params.groups + g) * 16 + output % 8) * 4 + word;
      stage(word * 4 * TILE + line, low(codes[code]), s);
      stage((word + 4) * 4 * TILE + line, low(codes[code + 32]), s);
    } else {
      let w = codes[((output / 8 * params.groups + g) * 8 + output % 8) * 4 + word];
      stage(word * 8 * TILE + line, low(w), s);
      stage((word * 8 + 4) * TILE + line, high(w), s);
    }
    workgroupBarrier();
    for (var c = 0u; c < DEPTH; c++) {
      let base = c * TILE + id.x;
      let w = vec4f(weight_tile[base], weight_tile[base + 16], weight_tile[base + 32], weight_tile[base + 48]);
      for (var r = 0u; r < 4; r++) { sums[r] += x_tile[c * TILE + id.y * 4 + r] * w; }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < 4; r++) {
    let row = row0 + id.y * 4 + r;
    for (var j = 0u; j < 4; j++) {
      let column = column0 + id.x + j * 16;
      if (row < params.rows && column < params.outputs) { finish(row, column, sums[r][j]); }
    }
  }
}
