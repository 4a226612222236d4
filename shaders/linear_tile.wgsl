// y[r, o] = residual[r, o] + scale[o] · act(Σ_c x[r, c] · weight[o, c] + bias[o])
//
// For any GPU and any size: a workgroup computes 64 × 64 outputs, each of its 16 × 16 threads 4 × 4 of them, from slices of
// 16 inputs staged in workgroup memory.

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

const TILE = 64u;
const DEPTH = 16u;

var<workgroup> x_tile: array<f32, 1024>;       // [DEPTH][TILE]
var<workgroup> weight_tile: array<f32, 1024>;  // [DEPTH][TILE]

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
  var sums: array<vec4f, 4>;
  for (var c0 = 0u; c0 < params.inputs; c0 += DEPTH) {
    for (var i = thread; i < TILE * DEPTH; i += 256) {
      let line = i / DEPTH;
      let c = c0 + i % DEPTH;
      let at = (i % DEPTH) * TILE + line;
      let inside = c < params.inputs;
      let row = min(row0 + line, params.rows - 1);
      let column = min(column0 + line, params.outputs - 1);
      x_tile[at] = select(0.0, f32(x[row * params.inputs + min(c, params.inputs - 1)]), inside);
      weight_tile[at] = select(0.0, f32(weight[column * params.inputs + min(c, params.inputs - 1)]), inside);
    }
    workgroupBarrier();
    for (var c = 0u; c < DEPTH; c++) {
      let base = c * TILE;
      let w = vec4f(weight_tile[base + id.x], weight_tile[base + id.x + 16], weight_tile[base + id.x + 32], weight_tile[base + id.x + 48]);
      for (var r = 0u; r < 4; r++) { sums[r] += x_tile[base + id.y * 4 + r] * w; }
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
