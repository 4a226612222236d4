// y[r, o] = residual[r, o] + scale[o] · act(factor[r] · Σ_c x[r, c] · weight[o, c] + bias[o])
//
// Many rows of f16 on GPUs whose subgroups of 32 multiply 16 × 16 matrices. A workgroup computes 64 × 64 outputs, each of its subgroups
// 32 × 32 of them, from slices of SPLIT · 32 inputs: while one is multiplied, the next is on its way. With SPLIT 2, two subgroups share
// outputs, and each takes half of a slice. With several workgroups in z, each adds up a part of the inputs, and `sum_parts` the rest.
// The four sums of a subgroup are four variables, since drivers keep arrays of matrices in slow memory. C must be a multiple of 8, O of 4.

override HAS_FACTOR: bool = false;
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
  part: u32,     // eights of inputs that a workgroup adds up: all, or a multiple of 4
}

@group(0) @binding(0) var<storage, read> x: array<vec4u>;                    // [R, C] of f16 in eights
@group(0) @binding(1) var<storage, read> weight: array<vec4u>;               // [O, C] of f16 in eights
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;          // [O]
@group(0) @binding(3) var<storage, read> scale: array<vec4<scale_t>>;        // [O]
@group(0) @binding(4) var<storage, read> residual: array<vec4<residual_t>>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<y_t>>;          // [parts, R, O]
@group(0) @binding(6) var<storage, read> factor: array<f32>;                 // [R]
@group(1) @binding(0) var<uniform> params: Params;
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sums = subgroup_matrix_result<f32, 16, 16>;

const TILE = 64u;                                  // rows, and outputs, of a workgroup
const SUBGROUPS = 4u;                              // that share a slice
const THREADS = SPLIT * SUBGROUPS * 32;
const VECTORS = SPLIT * 4;                         // of a row of a slice
const LINES = THREADS / VECTORS;                   // rows that all threads fetch at once, a vector each
const PITCH = VECTORS + 1;                         // from row to row: one is left free against bank conflicts
const SLICE = 2 * TILE * PITCH;                    // rows of x, then of the weight
const BLOCK_PITCH = 9u;                            // vectors from row to row of 32 × 32 sums
const BLOCK = 32 * BLOCK_PITCH;

var<workgroup> memory: array<vec4u, max(2 * SLICE, SPLIT * SUBGROUPS * BLOCK)>;  // two slices; in the end, sums

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: vec4f) -> vec4f {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= vec4f(0));
}

fn finish(part: u32, row: u32, column: u32, sums: vec4f) {
  if (row >= params.rows || column >= params.outputs) { return; }
  let o = (params.first + column) / 4;
  var v = sums;
  if (HAS_FACTOR) { v *= factor[row]; }
  if (HAS_BIAS) { v += vec4f(bias[o]); }
  if (ACTIVATION == 1) { v = gelu(v); }
  if (ACTIVATION == 2) { v = max(v, vec4f(0)); }
  if (ACTIVATION == 3) { v = 1.0 / (1.0 + exp(-v)); }
  if (HAS_SCALE) { v *= vec4f(scale[o]); }
  let at = (part * params.rows + row) * (params.stride / 4) + o;
  if (HAS_RESIDUAL) { v += vec4f(residual[at]); }
  y[at] = vec4<y_t>(v);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = group.y * groups.x + group.x;
  let tiles_across = (params.outputs + TILE - 1) / TILE;
  let row0 = tile / tiles_across * TILE;
  let column0 = tile % tiles_across * TILE;
  let down = subgroup % SUBGROUPS / 2 * 32;  // where its 32 × 32 outputs lie in the tile
  let across = subgroup % 2 * 32;
  let share = subgroup / SUBGROUPS * 4;      // its first vector of a slice

  // A thread fetches two vectors of x, LINES rows apart, and two of the weight.
  let width = params.inputs / 8;
  let line = thread / VECTORS;
  let column = thread % VECTORS;
  let x0 = min(row0 + line, params.rows - 1) * width;
  let x1 = min(row0 + line + LINES, params.rows - 1) * width;
  let w0 = min(column0 + line, params.outputs - 1) * width;
  let w1 = min(column0 + line + LINES, params.outputs - 1) * width;
  let to_x = line * PITCH + column;
  let to_w = (TILE + line) * PITCH + column;

  var sums00: Sums; var sums01: Sums; var sums10: Sums; var sums11: Sums;
  var slice = 0u;
  let begin = group.z * params.part;
  let end = min(begin + params.part, width);
  for (var c0 = begin; c0 < end + VECTORS; c0 += VECTORS) {
    // Fetches the slice at `c0`, then multiplies the one before; the loads wait behind the products.
    let at = min(c0 + column, width - 1);
    let inside = c0 + column < end;
    let next_x0 = x[x0 + at];
    let next_x1 = x[x1 + at];
    let next_w0 = weight[w0 + at];
    let next_w1 = weight[w1 + at];
    if (c0 > begin) {
      let left = slice + down * PITCH + share;
      let right = slice + (TILE + across) * PITCH + share;
      for (var c = 0u; c < 4; c += 2) {
        let a0 = subgroupMatrixLoad<Left, row_major>(&memory, left + c, PITCH);
        let a1 = subgroupMatrixLoad<Left, row_major>(&memory, left + 16 * PITCH + c, PITCH);
        let b0 = subgroupMatrixLoad<Right, col_major>(&memory, right + c, PITCH);
        let b1 = subgroupMatrixLoad<Right, col_major>(&memory, right + 16 * PITCH + c, PITCH);
        sums00 = subgroupMatrixMultiplyAccumulate(a0, b0, sums00);
        sums01 = subgroupMatrixMultiplyAccumulate(a0, b1, sums01);
        sums10 = subgroupMatrixMultiplyAccumulate(a1, b0, sums10);
        sums11 = subgroupMatrixMultiplyAccumulate(a1, b1, sums11);
      }
      slice = SLICE - slice;
    }
    memory[slice + to_x] = select(vec4u(0), next_x0, inside);
    memory[slice + to_x + LINES * PITCH] = select(vec4u(0), next_x1, inside);
    memory[slice + to_w] = select(vec4u(0), next_w0, inside);
    memory[slice + to_w + LINES * PITCH] = select(vec4u(0), next_w1, inside);
    workgroupBarrier();
  }

  let block = subgroup * BLOCK;
  subgroupMatrixStore<row_major>(&memory, block, sums00, BLOCK_PITCH);
  subgroupMatrixStore<row_major>(&memory, block + 4, sums01, BLOCK_PITCH);
  subgroupMatrixStore<row_major>(&memory, block + 16 * BLOCK_PITCH, sums10, BLOCK_PITCH);
  subgroupMatrixStore<row_major>(&memory, block + 16 * BLOCK_PITCH + 4, sums11, BLOCK_PITCH);
  workgroupBarrier();
  // Sums of subgroups that share outputs lie BLOCK · SUBGROUPS apart; each finishes its part of the rows.
  for (var i = subgroup / SUBGROUPS * 32 + lane; i < 256; i += SPLIT * 32) {
    let at = subgroup % SUBGROUPS * BLOCK + i / 8 * BLOCK_PITCH + i % 8;
    var sums = bitcast<vec4f>(memory[at]);
    if (SPLIT == 2) { sums += bitcast<vec4f>(memory[at + SUBGROUPS * BLOCK]); }
    finish(group.z, row0 + down + i / 8, column0 + across + i % 8 * 4, sums);
  }
}
