// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// Many rows on any GPU: a workgroup computes 64 · QUADS × 64 outputs, each of its 16 × 16 threads 4 · QUADS × 4 of them, from slices of
// 16 inputs that are turned over on their way into workgroup memory, so that a load there feeds 16 products. C and O must be multiples
// of 4.

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

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;                // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<vec4<weight_t>>;      // [O, C]
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<vec4<scale_t>>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<vec4<residual_t>>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<y_t>>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

const ROWS = 64 * QUADS;
const COLUMNS = 64u;
const DEPTH = 16u;
const X_PITCH = ROWS / 4 + 1;  // vectors from input to input: one is left free against bank conflicts
const W_PITCH = COLUMNS / 4 + 1;

var<workgroup> x_slice: array<vec4f, DEPTH * X_PITCH>;  // rows in fours
var<workgroup> w_slice: array<vec4f, DEPTH * W_PITCH>;  // outputs in fours

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: vec4f) -> vec4f {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= vec4f(0));
}

fn finish(row: u32, column: u32, sums: vec4f) {
  if (row >= params.rows || column >= params.outputs) { return; }
  let o = (params.first + column) / 4;
  var v = sums;
  if (HAS_BIAS) { v += vec4f(bias[o]); }
  if (ACTIVATION == 1) { v = gelu(v); }
  if (ACTIVATION == 2) { v = max(v, vec4f(0)); }
  if (ACTIVATION == 3) { v = 1.0 / (1.0 + exp(-v)); }
  if (HAS_SCALE) { v *= vec4f(scale[o]); }
  let at = row * (params.stride / 4) + o;
  if (HAS_RESIDUAL) { v += vec4f(residual[at]); }
  y[at] = vec4<y_t>(v);
}

// Four inputs of a row, or zeros past the last.
fn load_x(row: u32, c: u32) -> vec4f {
  let width = params.inputs / 4;
  return select(vec4f(0), vec4f(x[min(row, params.rows - 1) * width + min(c, width - 1)]), c < width);
}

fn load_w(column: u32, c: u32) -> vec4f {
  let width = params.inputs / 4;
  return select(vec4f(0), vec4f(weight[min(column, params.outputs - 1) * width + min(c, width - 1)]), c < width);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let tile = group.y * groups.x + group.x;
  let tiles_across = (params.outputs + COLUMNS - 1) / COLUMNS;
  let row0 = tile / tiles_across * ROWS;
  let column0 = tile % tiles_across * COLUMNS;
  if (row0 >= params.rows) { return; }
  let across = thread % 16;
  let down = thread / 16;
  var sums: array<vec4f, 4 * QUADS>;
  for (var c0 = 0u; c0 < params.inputs / 4; c0 += DEPTH / 4) {
    // A thread turns over 4 rows of 4 inputs of x, or of the weight.
    for (var i = thread; i < (ROWS + COLUMNS) / 4 * (DEPTH / 4); i += 256) {
      let c = i % (DEPTH / 4);
      let r = i / (DEPTH / 4) * 4;
      if (r < ROWS) {
        let v = transpose(mat4x4f(
          load_x(row0 + r, c0 + c), load_x(row0 + r + 1, c0 + c), load_x(row0 + r + 2, c0 + c), load_x(row0 + r + 3, c0 + c)));
        for (var j = 0u; j < 4; j++) { x_slice[(4 * c + j) * X_PITCH + r / 4] = v[j]; }
      } else {
        let o = column0 + r - ROWS;
        let v = transpose(mat4x4f(load_w(o, c0 + c), load_w(o + 1, c0 + c), load_w(o + 2, c0 + c), load_w(o + 3, c0 + c)));
        for (var j = 0u; j < 4; j++) { w_slice[(4 * c + j) * W_PITCH + (r - ROWS) / 4] = v[j]; }
      }
    }
    workgroupBarrier();
    for (var c = 0u; c < DEPTH; c++) {
      let w = w_slice[c * W_PITCH + across];
      for (var i = 0u; i < QUADS; i++) {
        let v = x_slice[c * X_PITCH + down + 16 * i];
        for (var r = 0u; r < 4; r++) { sums[4 * i + r] += v[r] * w; }
      }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < QUADS; i++) {
    for (var r = 0u; r < 4; r++) { finish(row0 + 4 * (down + 16 * i) + r, column0 + 4 * across, sums[4 * i + r]); }
  }
}
