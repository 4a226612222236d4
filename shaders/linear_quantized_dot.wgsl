// y[r, o] = residual[r, o] + bias[o] + Σ_g s[r, g] · (scale[o, g] · Σ_c x[r, c] · code[o, c] + offset[o, g] · Σ_c x[r, c])
//
// Many rows as bytes, see byte_rows.wgsl, on GPUs that multiply and add four pairs of bytes at once. A workgroup computes 64 × 64
// outputs from one group of 32 inputs at a time, which lies in workgroup memory as bytes. Each of its 16 × 8 threads computes 8
// rows of 4 outputs: it keeps their codes in registers, and takes one row after another. The next group is fetched meanwhile.

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

@group(0) @binding(0) var<storage, read> x: array<vec4u>;              // [R, C/16] of 16 bytes
@group(0) @binding(1) var<storage, read> factor: array<vec2f>;         // [R, C/32]: s, and s · Σ x
@group(0) @binding(2) var<storage, read> codes: array<vec2u>;          // [O/8, G (int8: 2G), 8] of 2 · 2 words
@group(0) @binding(3) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(4) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(5) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(6) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

const TILE = 64u;
const ACROSS = 16u;            // threads; their outputs, and their rows, lie as far apart, so that neighbours read neighbours
const DOWN = 8u;
const PITCH = TILE + 4;        // from half a group to the other: neighbouring threads store both, and shall meet no bank twice
const SLICE = 4 * PITCH;       // the halves of rows, then those of outputs
const NIBBLES = 0x0f0f0f0fu;

var<workgroup> memory: array<vec4u, 2 * SLICE>;      // two slices
var<workgroup> factors: array<vec2f, 2 * 2 * TILE>;  // theirs: of rows, then of outputs

fn finish(row: u32, column: u32, sum: f32) {
  if (row >= params.rows || column >= params.outputs) { return; }
  let o = params.first + column;
  var v = sum;
  if (HAS_BIAS) { v += f32(bias[o]); }
  let at = row * params.stride + o;
  if (HAS_RESIDUAL) { v += f32(residual[at]); }
  y[at] = y_t(v);
}

// Half a group of an output as bytes; of 8 codes of 4 bits, the even ones before the odd ones.
fn bytes(o: u32, g: u32, half: u32) -> vec4u {
  let at = (o / 8 * params.groups + g) * 8;
  if (FORMAT == 2) {
    let word = (at * 2 + half * 8 + o % 8) * 2;
    return vec4u(codes[word], codes[word + 1]);
  }
  let w = codes[(at + o % 8) * 2 + half];
  return vec4u(w.x & NIBBLES, (w.x >> 4) & NIBBLES, w.y & NIBBLES, (w.y >> 4) & NIBBLES);
}

// Of a row; what counting from 8 makes too much, for int4 without offset.
fn factor_of(row: u32, g: u32) -> vec2f {
  return factor[row * (params.inputs / 32) + g] * vec2f(1, select(1.0, -8.0, FORMAT == 0));
}

// Scale and offset of an output.
fn scale_of(o: u32, g: u32) -> vec2f {
  let block = o / 8 * params.groups + g;
  let pair = unpack2x16float(scales[select(block / 2, block, FORMAT == 1) * 8 + o % 8]);
  return select(vec2f(select(pair.x, pair.y, g % 2 == 1), 0), pair, FORMAT == 1);
}

// One product after another, so that hardware adds each to the sum as it multiplies.
fn dot16(sum: i32, a: vec4u, b: vec4u) -> i32 {
  return sum + dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(ACROSS, DOWN)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) id: vec3u,
        @builtin(local_invocation_index) thread: u32) {
  let tile = group.y * groups.x + group.x;
  let tiles_across = (params.outputs + TILE - 1) / TILE;
  let row0 = tile / tiles_across * TILE;
  let column0 = tile % tiles_across * TILE;
  if (row0 >= params.rows) { return; }
  // A thread fetches half a group of a row and of an output, and the factors of either.
  let half = thread % 2;
  let row = min(row0 + thread / 2, params.rows - 1);
  let output = min(column0 + thread / 2, params.outputs - 1);
  let to = half * PITCH + thread / 2;
  let factor_row = min(row0 + thread % TILE, params.rows - 1);
  let factor_output = min(column0 + thread % TILE, params.outputs - 1);

  var sums: array<vec4f, 8>;
  var slice = 0u;
  let count = params.inputs / 32;
  for (var g = 0u; g <= count; g++) {
    let next = min(g, count - 1);
    let next_x = x[(row * count + next) * 2 + half];
    let next_codes = bytes(output, next, half);
    var next_factor: vec2f;
    if (thread < TILE) { next_factor = factor_of(factor_row, next); } else { next_factor = scale_of(factor_output, next); }
    if (g > 0) {
      let at = slice * SLICE + 2 * PITCH + id.x;
      let low0 = memory[at];               let high0 = memory[at + PITCH];
      let low1 = memory[at + ACROSS];      let high1 = memory[at + PITCH + ACROSS];
      let low2 = memory[at + 2 * ACROSS];  let high2 = memory[at + PITCH + 2 * ACROSS];
      let low3 = memory[at + 3 * ACROSS];  let high3 = memory[at + PITCH + 3 * ACROSS];
      let own = (slice * 2 + 1) * TILE + id.x;
      let s = transpose(mat4x2f(factors[own], factors[own + ACROSS], factors[own + 2 * ACROSS], factors[own + 3 * ACROSS]));
      for (var r = 0u; r < 8; r++) {
        let line = id.y + r * DOWN;
        let low = memory[slice * SLICE + line];
        let high = memory[slice * SLICE + PITCH + line];
        let f = factors[slice * 2 * TILE + line];
        let dots = vec4f(vec4i(
          dot16(dot16(0, low, low0), high, high0), dot16(dot16(0, low, low1), high, high1),
          dot16(dot16(0, low, low2), high, high2), dot16(dot16(0, low, low3), high, high3),
        ));
        if (FORMAT == 0) { sums[r] += s[0] * (f.x * dots + f.y); }
        if (FORMAT == 1) { sums[r] += s[0] * (f.x * dots) + s[1] * f.y; }
        if (FORMAT == 2) { sums[r] += s[0] * (f.x * dots); }
      }
      slice = 1 - slice;
    }
    memory[slice * SLICE + to] = next_x;
    memory[slice * SLICE + 2 * PITCH + to] = next_codes;
    factors[slice * 2 * TILE + thread] = next_factor;
    workgroupBarrier();
  }
  for (var r = 0u; r < 8; r++) {
    for (var j = 0u; j < 4; j++) { finish(row0 + id.y + r * DOWN, column0 + id.x + j * ACROSS, sums[r][j]); }
  }
}
