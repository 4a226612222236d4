// y[r, o] = residual[r, o] + bias[o] + factor[r] · Σ_c x[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32])
//
// As linear_matrix.wgsl, for weights of a few bits: a slice is SPLIT groups of 32 inputs, whose codes become halfs on their way into
// workgroup memory. O must be a multiple of 4.

override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_FACTOR: bool = false;
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
  groups: u32,   // G, groups of 32 inputs, padded to an even number
  part: u32,     // groups that a workgroup adds up
}

@group(0) @binding(0) var<storage, read> x: array<vec4u>;                    // [R, C] of f16 in eights
@group(0) @binding(1) var<storage, read> codes: array<u32>;                  // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read> scales: array<u32>;                 // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read> bias: array<vec4<bias_t>>;          // [O]
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
const PITCH = VECTORS + 1;
const SLICE = 2 * TILE * PITCH;                    // rows of x, then of the weight
const BLOCK_PITCH = 9u;                            // vectors from row to row of 32 × 32 sums
const BLOCK = 32 * BLOCK_PITCH;

var<workgroup> memory: array<vec4u, max(2 * SLICE, SPLIT * SUBGROUPS * BLOCK)>;  // two slices; in the end, sums

fn finish(part: u32, row: u32, column: u32, sums: vec4f) {
  if (row >= params.rows || column >= params.outputs) { return; }
  let o = (params.first + column) / 4;
  var v = sums * select(1.0, factor[select(0, row, HAS_FACTOR)], HAS_FACTOR);
  if (HAS_BIAS) { v += vec4f(bias[o]); }
  let at = (part * params.rows + row) * (params.stride / 4) + o;
  if (HAS_RESIDUAL) { v += vec4f(residual[at]); }
  y[at] = vec4<y_t>(v);
}

// Four codes as numbers; int4 without offset counts from 8.
fn four(w: u32) -> vec4f {
  if (FORMAT == 2) { return vec4f(bitcast<vec4i>(vec4u(w) << vec4u(24, 16, 8, 0)) >> vec4u(24)); }
  if (FORMAT == 1) { return vec4f((vec4u(w) >> vec4u(0, 4, 8, 12)) & vec4u(15)); }
  return vec4f(bitcast<vec4i>(vec4u(w ^ 0x8888) << vec4u(28, 24, 20, 16)) >> vec4u(28));
}

// Weights `column` · 8 … + 7 of group g of an output, as halfs.
fn weights(o: u32, g: u32, column: u32) -> vec4u {
  let block = o / 8 * params.groups + g;
  let at = select((block * 8 + o % 8) * 4 + column, (block * 16 + column / 2 * 8 + o % 8) * 4 + column % 2 * 2, FORMAT == 2);
  let words = vec2u(codes[at], select(codes[at] >> 16, codes[at + select(0u, 1u, FORMAT == 2)], FORMAT == 2));
  let pair = unpack2x16float(scales[select(block / 2, block, FORMAT == 1) * 8 + o % 8]);
  let s = select(vec2f(select(pair.x, pair.y, g % 2 == 1), 0.0), pair, FORMAT == 1);
  let low = four(words.x) * s.x + s.y;
  let high = four(words.y) * s.x + s.y;
  return vec4u(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
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
  let share = subgroup / SUBGROUPS * 4;

  // A thread fetches two vectors of x, LINES rows apart, and codes for two of the weight.
  let width = params.inputs / 8;
  let line = thread / VECTORS;
  let column = thread % VECTORS;
  let x0 = min(row0 + line, params.rows - 1) * width;
  let x1 = min(row0 + line + LINES, params.rows - 1) * width;
  let o0 = min(column0 + line, params.outputs - 1);
  let o1 = min(column0 + line + LINES, params.outputs - 1);
  let to_x = line * PITCH + column;
  let to_w = (TILE + line) * PITCH + column;

  var sums00: Sums; var sums01: Sums; var sums10: Sums; var sums11: Sums;
  var slice = 0u;
  let begin = group.z * params.part;
  let last = min(begin + params.part, width / 4) - 1;
  for (var g = begin; g <= last + SPLIT; g += SPLIT) {
    let own = g + column / 4;
    let next = min(own, last);
    let next_x0 = select(vec4u(0), x[x0 + next * 4 + column % 4], own <= last);
    let next_x1 = select(vec4u(0), x[x1 + next * 4 + column % 4], own <= last);
    let next_w0 = weights(o0, next, column % 4);
    let next_w1 = weights(o1, next, column % 4);
    if (g > begin) {
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
    memory[slice + to_x] = next_x0;
    memory[slice + to_x + LINES * PITCH] = next_x1;
    memory[slice + to_w] = next_w0;
    memory[slice + to_w + LINES * PITCH] = next_w1;
    workgroupBarrier();
  }
  let block = subgroup * BLOCK;
  subgroupMatrixStore<row_major>(&memory, block, sums00, BLOCK_PITCH);
  subgroupMatrixStore<row_major>(&memory, block + 4, sums01, BLOCK_PITCH);
  subgroupMatrixStore<row_major>(&memory, block + 16 * BLOCK_PITCH, sums10, BLOCK_PITCH);
  subgroupMatrixStore<row_major>(&memory, block + 16 * BLOCK_PITCH + 4, sums11, BLOCK_PITCH);
  workgroupBarrier();
  for (var i = subgroup / SUBGROUPS * 32 + lane; i < 256; i += SPLIT * 32) {
    let at = subgroup % SUBGROUPS * BLOCK + i / 8 * BLOCK_PITCH + i % 8;
    var sums = bitcast<vec4f>(memory[at]);
    if (SPLIT == 2) { sums += bitcast<vec4f>(memory[at + SUBGROUPS * BLOCK]); }
    finish(group.z, row0 + down + i / 8, column0 + across + i % 8 * 4, sums);
  }
}
