// keys[start + t, :], values[start + t, :] = the key and value columns of row row + t of the packed projection
//
// One thread per element of the new keys.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  size: u32,     // T · Nkv · Dh
  width: u32,    // Nkv · Dh
  queries: u32,  // N · Dh, columns in front of the keys
  start: u32,    // first cache row to write
  row: u32,      // first row to read
}

@group(0) @binding(0) var<storage, read> qkv: array<qkv_t>;              // [R, (N + 2·Nkv)·Dh]
@group(0) @binding(1) var<storage, read_write> keys: array<keys_t>;      // [S, Nkv·Dh]
@group(0) @binding(2) var<storage, read_write> values: array<values_t>;  // [S, Nkv·Dh]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (i >= params.size) { return; }
  let token = params.row + i / params.width;
  let base = token * (params.queries + 2 * params.width) + params.queries + i % params.width;
  let to = params.start * params.width + i;
  keys[to] = keys_t(qkv[base]);
  values[to] = values_t(qkv[base + params.width]);
}
