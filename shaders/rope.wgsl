// x[row + t, h, i], x[row + t, h, i + r/2] ← the pair rotated by the angle of position start + t and frequency i, i < r/2
//
// One thread per pair. Elements from r on pass through.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  pairs: u32,       // T · heads · r/2
  heads: u32,
  head_dim: u32,
  rotary_dim: u32,  // r
  columns: u32,     // elements in a row of x
  start: u32,
  row: u32,         // first row of x
}

@group(0) @binding(0) var<storage, read> table: array<table_t>;  // [P, r], cosines then sines
@group(0) @binding(1) var<storage, read_write> x: array<x_t>;    // [R, columns]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (index >= params.pairs) { return; }
  let half = params.rotary_dim / 2;
  let i = index % half;
  let head = (index / half) % params.heads;
  let token = index / half / params.heads;
  let at = (params.row + token) * params.columns + head * params.head_dim + i;
  let angle = (params.start + token) * params.rotary_dim + i;
  let cosine = f32(table[angle]);
  let sine = f32(table[angle + half]);
  let a = f32(x[at]);
  let b = f32(x[at + half]);
  x[at] = x_t(a * cosine - b * sine);
  x[at + half] = x_t(b * cosine + a * sine);
}
