// y[t, d] = scale[ids[t] − first, d/32] · code[ids[t] − first, d] + offset[ids[t] − first, d/32]; other rows of y are left alone
//
// One thread per element. A table larger than one binding is read in several runs, each for a range of ids; the first run also
// writes zeros for ids past the vocabulary.

override WORKGROUP_SIZE: u32 = 64;
override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8

struct Params {
  size: u32,    // T · D
  dim: u32,     // D
  groups: u32,  // G, groups of 32 elements, padded to an even number
  first: u32,   // id of the first row of this part of the table
  rows: u32,    // rows in this part
  vocab: u32,   // rows in the whole table
}

@group(0) @binding(0) var<storage, read> ids: array<ids_t>;     // [T]
@group(0) @binding(1) var<storage, read> codes: array<u32>;     // [rows/8, G (int8: 2G), 8, 4]
@group(0) @binding(2) var<storage, read> scales: array<u32>;    // [rows/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;   // [T, D]
@group(1) @binding(0) var<uniform> params: Params;

fn code_of(row: u32, d: u32) -> f32 {
  if (FORMAT == 2) {
    let word = codes[((row / 8 * params.groups * 2 + d / 16) * 8 + row % 8) * 4 + d / 4 % 4];
    return f32(bitcast<i32>(word << (24 - d % 4 * 8)) >> 24);
  }
  let word = codes[((row / 8 * params.groups + d / 32) * 8 + row % 8) * 4 + d / 8 % 4];
  let code = f32((word >> (d % 8 * 4)) & 15);
  return select(code - 8.0, code, FORMAT == 1);
}

fn scale_of(row: u32, g: u32) -> vec2f {
  if (FORMAT == 1) { return unpack2x16float(scales[(row / 8 * params.groups + g) * 8 + row % 8]); }
  let pair = unpack2x16float(scales[(row / 8 * (params.groups / 2) + g / 2) * 8 + row % 8]);
  return vec2f(select(pair.x, pair.y, g % 2 == 1), 0.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (i >= params.size) { return; }
  let id = u32(ids[i / params.dim]);
  let d = i % params.dim;
  if (id >= params.first && id - params.first < params.rows) {
    let row = id - params.first;
    let s = scale_of(row, d / 32);
    y[i] = y_t(code_of(row, d) * s.x + s.y);
  } else if (params.first == 0 && id >= params.vocab) {
    y[i] = y_t(0);
  }
}
