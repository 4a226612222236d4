// y[n, h, :] = Σ_m softmax_m(q[n, h, :] · k[m, h, :] · scale) · v[m, h, :]   over all m
//
// One thread per query and head; online softmax (arXiv 2205.14135), so no score matrix is stored.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  batch: u32,   // B
  tokens: u32,  // N
  heads: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec4<qkv_t>>;    // [B, N, 3, heads, HEAD_DIM]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<y_t>>;  // [B, N, heads, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (index >= params.batch * params.tokens * params.heads) { return; }
  // Neighbouring threads take neighbouring queries of one head: they read the same keys.
  let query = index % params.tokens;
  let head = (index / params.tokens) % params.heads;
  let image = index / params.tokens / params.heads;
  let width = params.heads * VECTORS;
  let base = image * params.tokens * 3 * width + head * VECTORS;

  var q: array<vec4f, VECTORS>;
  var sum: array<vec4f, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) { q[i] = vec4f(qkv[base + query * 3 * width + i]) * params.scale; }
  var highest = -3.0e38;
  var total = 0.0;
  for (var m = 0u; m < params.tokens; m++) {
    let key = base + (m * 3 + 1) * width;
    var score = 0.0;
    for (var i = 0u; i < VECTORS; i++) { score += dot(q[i], vec4f(qkv[key + i])); }
    let next = max(highest, score);
    let keep = exp(highest - next);
    let weight = exp(score - next);
    total = total * keep + weight;
    for (var i = 0u; i < VECTORS; i++) { sum[i] = sum[i] * keep + weight * vec4f(qkv[key + width + i]); }
    highest = next;
  }
  let to = (image * params.tokens + query) * width + head * VECTORS;
  for (var i = 0u; i < VECTORS; i++) { y[to + i] = vec4<y_t>(sum[i] / total); }
}
