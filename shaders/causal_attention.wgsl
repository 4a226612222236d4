// y[row + t, n, :] = Σ_s softmax_s(q[row + t, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start + t
//
// One thread per token and query head; online softmax (arXiv 2205.14135). G query heads share a key/value head.

override WORKGROUP_SIZE: u32 = 8;

struct Params {
  tokens: u32,    // T
  heads: u32,     // N
  kv_heads: u32,  // Nkv
  stride: u32,    // vectors in a row of q
  start: u32,     // tokens in the cache before this call
  scale: f32,
  row: u32,       // first row of this sequence in q and y
}

@group(0) @binding(0) var<storage, read> q: array<vec4<q_t>>;            // [R, stride], queries first
@group(0) @binding(1) var<storage, read> keys: array<vec4<keys_t>>;      // [S, Nkv, HEAD_DIM]
@group(0) @binding(2) var<storage, read> values: array<vec4<values_t>>;  // [S, Nkv, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;      // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (index >= params.tokens * params.heads) { return; }
  let token = index % params.tokens;
  let head = index / params.tokens;
  let kv = head / (params.heads / params.kv_heads) * VECTORS;
  let width = params.kv_heads * VECTORS;

  var query: array<vec4f, VECTORS>;
  var sum: array<vec4f, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) {
    query[i] = vec4f(q[(params.row + token) * params.stride + head * VECTORS + i]) * params.scale;
  }
  var highest = -3.0e38;
  var total = 0.0;
  for (var s = 0u; s <= params.start + token; s++) {
    let at = s * width + kv;
    var score = 0.0;
    for (var i = 0u; i < VECTORS; i++) { score += dot(query[i], vec4f(keys[at + i])); }
    let next = max(highest, score);
    let keep = exp(highest - next);
    let weight = exp(score - next);
    total = total * keep + weight;
    for (var i = 0u; i < VECTORS; i++) { sum[i] = sum[i] * keep + weight * vec4f(values[at + i]); }
    highest = next;
  }
  let to = ((params.row + token) * params.heads + head) * VECTORS;
  for (var i = 0u; i < VECTORS; i++) { y[to + i] = vec4<y_t>(sum[i] / total); }
}
