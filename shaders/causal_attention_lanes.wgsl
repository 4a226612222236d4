// y[row + t, n, :] = Σ_s softmax_s(q[row + t, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start + t
//
// For adapters with subgroups of exactly 8 lanes. A subgroup computes 4 of the T·G queries that share a key/value head, one
// in each component of its vectors, over keys in blocks of 8: first a lane is a key and computes the 4 scores, then it owns
// every eighth vector of the head and adds up the values. Online softmax (arXiv 2205.14135). HEAD_DIM: a multiple of 8.

struct Params {
  tokens: u32,    // T
  heads: u32,     // N
  kv_heads: u32,  // Nkv; G = N / Nkv
  stride: u32,    // vectors in a row of q
  start: u32,     // tokens in the cache before this call
  scale: f32,
  row: u32,       // first row of this sequence in q and y
}

@group(0) @binding(0) var<storage, read> q: array<q_t>;                  // [R, 4·stride], queries first
@group(0) @binding(1) var<storage, read> keys: array<vec4<keys_t>>;      // [S, Nkv, HEAD_DIM]
@group(0) @binding(2) var<storage, read> values: array<vec4<values_t>>;  // [S, Nkv, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;      // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;
const OWNED = (VECTORS + 7) / 8;  // vectors of a head that a lane adds up
const LOWEST = -3.0e38;

fn max_of_lanes(v: vec4f) -> vec4f {
  let a = max(v, subgroupShuffleXor(v, 1));
  let b = max(a, subgroupShuffleXor(a, 2));
  return max(b, subgroupShuffleXor(b, 4));
}

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let shared_by = params.heads / params.kv_heads;
  let queries = params.tokens * shared_by;
  let parts = (queries + 3) / 4;
  let kv_head = min(part / parts, params.kv_heads - 1);
  let query = part % parts * 4 + vec4u(0, 1, 2, 3);
  let token = min(query, vec4u(queries - 1)) / shared_by;
  let head = kv_head * shared_by + min(query, vec4u(queries - 1)) % shared_by;
  let visible = params.start + token + 1;
  let end = visible.w;  // tokens ascend
  let width = params.kv_heads * VECTORS;
  let base = kv_head * VECTORS;

  var q_lane: array<vec4f, HEAD_DIM / 8>;  // element 8·c + lane of the 4 queries
  let query_at = (params.row + token) * params.stride * 4 + head * HEAD_DIM + lane;
  for (var c = 0u; c < HEAD_DIM / 8; c++) {
    let at = query_at + c * 8;
    q_lane[c] = vec4f(f32(q[at.x]), f32(q[at.y]), f32(q[at.z]), f32(q[at.w])) * params.scale;
  }
  var sums: array<mat4x4f, OWNED>;  // column: query
  var highest = vec4f(LOWEST);
  var total = vec4f();
  for (var s = 0u; s < end; s += 8) {
    let key = min(s + lane, end - 1) * width + base;
    var score = vec4f();
    for (var c = 0u; c < HEAD_DIM / 8; c++) {
      let v = q_lane[c];
      let a = vec4f(keys[key + c * 2]);
      let b = vec4f(keys[key + c * 2 + 1]);
      score += subgroupShuffle(v, 0) * a.x + subgroupShuffle(v, 1) * a.y;
      score += subgroupShuffle(v, 2) * a.z + subgroupShuffle(v, 3) * a.w;
      score += subgroupShuffle(v, 4) * b.x + subgroupShuffle(v, 5) * b.y;
      score += subgroupShuffle(v, 6) * b.z + subgroupShuffle(v, 7) * b.w;
    }
    score = select(vec4f(LOWEST), score, vec4u(s + lane) < visible);
    let next = max(highest, max_of_lanes(score));
    let keep = exp(highest - next);
    let weight = exp(score - next);
    total = total * keep + weight;
    for (var j = 0u; j < OWNED; j++) {
      let at = base + min(lane + j * 8, VECTORS - 1);
      var sum = sums[j];
      sum = mat4x4f(sum[0] * keep.x, sum[1] * keep.y, sum[2] * keep.z, sum[3] * keep.w);
      for (var k = 0u; k < 8; k++) {
        let value = vec4f(values[min(s + k, end - 1) * width + at]);
        let w = subgroupShuffle(weight, k);
        sum = mat4x4f(sum[0] + w.x * value, sum[1] + w.y * value, sum[2] + w.z * value, sum[3] + w.w * value);
      }
      sums[j] = sum;
    }
    highest = next;
  }
  total += subgroupShuffleXor(total, 1);
  total += subgroupShuffleXor(total, 2);
  total += subgroupShuffleXor(total, 4);
  if (part / parts >= params.kv_heads) { return; }
  for (var r = 0u; r < 4 && query[r] < queries; r++) {
    let to = ((params.row + token[r]) * params.heads + head[r]) * VECTORS;
    for (var i = lane; i < VECTORS; i += 8) { y[to + i] = vec4<y_t>(sums[i / 8][r] / total[r]); }
  }
}
