// q[t, h, :] ← rotated(q[t, h, :]), keys[start + t, h, :] = rotated(k[t, h, :]), values[start + t, h, :] = v[t, h, :]
//
// rotated(x)[i], rotated(x)[i + r/2] is the pair turned by the angle of position start + t and frequency i, i < r/2; elements from
// r on pass through. q, k and v are the columns of row `row + t` of the packed projection, where keys stay as they were. One thread
// per two elements of a head.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  size: u32,        // T · (N + 2·Nkv) · ⌈Dh/2⌉
  heads: u32,       // N
  kv_heads: u32,    // Nkv
  head_dim: u32,    // Dh
  rotary_dim: u32,  // r
  start: u32,       // first cache row to write, and the position of the first row
  row: u32,         // first row of the projection
}

@group(0) @binding(0) var<storage, read> table: array<table_t>;          // [P, r], cosines then sines
@group(0) @binding(1) var<storage, read_write> qkv: array<qkv_t>;        // [R, (N + 2·Nkv)·Dh]
@group(0) @binding(2) var<storage, read_write> keys: array<keys_t>;      // [S, Nkv·Dh]
@group(0) @binding(3) var<storage, read_write> values: array<values_t>;  // [S, Nkv·Dh]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (index >= params.size) { return; }
  let pairs = (params.head_dim + 1) / 2;
  let all_heads = params.heads + 2 * params.kv_heads;
  let pair = index % pairs;
  let head = index / pairs % all_heads;
  let token = index / pairs / all_heads;
  let source = ((params.row + token) * all_heads + head) * params.head_dim;
  let is_value = head >= params.heads + params.kv_heads;
  let half = params.rotary_dim / 2;
  if (is_value || pair >= half) {
    // Two neighbours pass through; the second may be past the head.
    if (head < params.heads) { return; }
    let kv_head = head - params.heads - select(0, params.kv_heads, is_value);
    let to = ((params.start + token) * params.kv_heads + kv_head) * params.head_dim;
    for (var i = 2 * pair; i < min(2 * pair + 2, params.head_dim); i++) {
      if (is_value) { values[to + i] = values_t(qkv[source + i]); } else { keys[to + i] = keys_t(qkv[source + i]); }
    }
    return;
  }
  let angle = (params.start + token) * params.rotary_dim + pair;
  let cosine = f32(table[angle]);
  let sine = f32(table[angle + half]);
  let a = f32(qkv[source + pair]);
  let b = f32(qkv[source + pair + half]);
  let turned = vec2f(a * cosine - b * sine, b * cosine + a * sine);
  if (head < params.heads) {
    qkv[source + pair] = qkv_t(turned.x);
    qkv[source + pair + half] = qkv_t(turned.y);
  } else {
    let to = ((params.start + token) * params.kv_heads + head - params.heads) * params.head_dim;
    keys[to + pair] = keys_t(turned.x);
    keys[to + pair + half] = keys_t(turned.y);
  }
}
