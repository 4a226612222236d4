// y[row, n, :] = Σ_s softmax_s(rotated(q[n, :]) · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start
//
// One token, on GPUs with subgroups of any size: `rope_kv` and the attention after it at once. A workgroup takes a query head and
// one of groups.x parts of the cached keys. LANES threads hold a key, OWN vectors each; every such group goes through keys of its
// own, UNROLL at a time, by online softmax (arXiv 2205.14135), without barriers. They meet by shuffles, then in workgroup memory.

override WORKGROUP_SIZE: u32 = 256;
override IS_PART: bool = false;  // y is [N, groups.x, HEAD_DIM + 4]: results; greatest score, sum of weights

struct Params {
  heads: u32,       // N
  kv_heads: u32,    // Nkv; G = N / Nkv
  rotary_dim: u32,  // r, see `rope_kv`
  start: u32,       // tokens in the cache before this one, and its position
  row: u32,         // row of this sequence in qkv and y
  chunk: u32,       // cached keys of a workgroup
  scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<qkv_t>;                    // [R, (N + 2·Nkv)·HEAD_DIM]
@group(0) @binding(1) var<storage, read> table: array<table_t>;                // [P, r], cosines then sines
@group(0) @binding(2) var<storage, read_write> keys: array<vec4<keys_t>>;      // [S, Nkv, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> values: array<vec4<values_t>>;  // [S, Nkv, HEAD_DIM]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<y_t>>;            // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;
const LOWEST = -3.0e38;
var<workgroup> fresh: array<f32, 3 * HEAD_DIM>;  // query, key and value of the new token, as `rope_kv` rounds them
var<workgroup> sums: array<vec4f, PARTS * VECTORS>;
var<workgroup> tops: array<vec2f, PARTS>;        // of each subgroup: the greatest score, and the sum of weights

fn fresh_at(i: u32) -> vec4f { return vec4f(fresh[i * 4], fresh[i * 4 + 1], fresh[i * 4 + 2], fresh[i * 4 + 3]); }

// Element e of the head that begins at qkv[at].
fn rotated(at: u32, e: u32) -> f32 {
  let own = f32(qkv[at + e]);
  if (e >= params.rotary_dim) { return own; }
  let half = params.rotary_dim / 2;
  let angle = params.start * params.rotary_dim + e % half;
  let other = f32(qkv[at + select(e + half, e - half, e >= half)]);
  return own * f32(table[angle]) + select(-other, other, e >= half) * f32(table[angle + half]);
}

fn prepare(head: u32, kv: u32, thread: u32) {
  let query = params.row * (params.heads + 2 * params.kv_heads) * HEAD_DIM;
  let key = query + (params.heads + kv) * HEAD_DIM;
  for (var e = thread; e < HEAD_DIM; e += WORKGROUP_SIZE) {
    fresh[e] = f32(qkv_t(rotated(query + head * HEAD_DIM, e))) * params.scale;
    fresh[HEAD_DIM + e] = f32(keys_t(rotated(key, e)));
    fresh[2 * HEAD_DIM + e] = f32(values_t(qkv[key + params.kv_heads * HEAD_DIM + e]));
  }
}

fn over_lanes(partial: f32) -> f32 {
  var sum = partial + subgroupShuffleXor(partial, 1);
  if (LANES > 2) { sum += subgroupShuffleXor(sum, 2); }
  if (LANES > 4) { sum += subgroupShuffleXor(sum, 4); }
  return sum;
}

// Merges what the subgroups of a workgroup have, and writes it where it belongs, one vector a thread.
fn finish(head: u32, part: u32, parts: u32, subgroups: u32, thread: u32) {
  var top = LOWEST;
  for (var p = 0u; p < subgroups; p++) { top = max(top, tops[p].x); }
  var sum = vec4f();
  var total = 0.0;
  for (var p = 0u; p < subgroups; p++) {
    let keep = exp(tops[p].x - top);
    total += keep * tops[p].y;
    sum += keep * sums[p * VECTORS + thread];
  }
  var to = (params.row * params.heads + head) * VECTORS;
  if (IS_PART) { to = (head * parts + part) * (VECTORS + 1); }
  if (IS_PART && thread == 0) { y[to + VECTORS] = vec4<y_t>(vec4f(top, total, 0, 0)); }
  y[to + thread] = vec4<y_t>(sum / total);
  let sharing = params.heads / params.kv_heads;
  if (part > 0 || head % sharing > 0) { return; }
  let at = (params.start * params.kv_heads + head / sharing) * VECTORS + thread;
  keys[at] = vec4<keys_t>(fresh_at(VECTORS + thread));
  values[at] = vec4<values_t>(fresh_at(2 * VECTORS + thread));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_size) size: u32) {
  let kv = group.y / (params.heads / params.kv_heads);
  prepare(group.y, kv, thread);
  workgroupBarrier();
  let lane = thread % LANES;
  let stride = WORKGROUP_SIZE / LANES;
  // The new token is the first key of the first group.
  let is_first = group.x == 0 && thread < LANES;
  var total = select(0.0, 1.0, is_first);
  var query: array<vec4f, OWN>;
  var sum: array<vec4f, OWN>;
  var score = 0.0;
  for (var i = 0u; i < OWN; i++) {
    query[i] = fresh_at(lane + i * LANES);
    score += dot(query[i], fresh_at(VECTORS + lane + i * LANES));
    sum[i] = total * fresh_at(2 * VECTORS + lane + i * LANES);
  }
  var highest = select(LOWEST, over_lanes(score), is_first);
  let end = min(params.start, (group.x + 1) * params.chunk);
  for (var s = group.x * params.chunk; s < end; s += stride * UNROLL) {
    var k: array<vec4f, UNROLL * OWN>;
    var v: array<vec4f, UNROLL * OWN>;
    for (var i = 0u; i < UNROLL * OWN; i++) {
      let row = min(s + thread / LANES + i / OWN * stride, end - 1);
      let at = (row * params.kv_heads + kv) * VECTORS + lane + i % OWN * LANES;
      k[i] = vec4f(keys[at]);
      v[i] = vec4f(values[at]);
    }
    for (var u = 0u; u < UNROLL; u++) {
      score = 0.0;
      for (var i = 0u; i < OWN; i++) { score += dot(query[i], k[u * OWN + i]); }
      score = select(LOWEST, over_lanes(score), s + thread / LANES + u * stride < end);
      let next = max(highest, score);
      let keep = exp(highest - next);
      let weight = select(0.0, exp(score - next), score > LOWEST);
      highest = next;
      total = total * keep + weight;
      for (var i = 0u; i < OWN; i++) { sum[i] = sum[i] * keep + weight * v[u * OWN + i]; }
    }
  }
  var top = highest;
  for (var m = LANES; m < size; m *= 2) { top = max(top, subgroupShuffleXor(top, m)); }
  total *= exp(highest - top);
  for (var i = 0u; i < OWN; i++) { sum[i] *= exp(highest - top); }
  for (var m = LANES; m < size; m *= 2) {
    total += subgroupShuffleXor(total, m);
    for (var i = 0u; i < OWN; i++) { sum[i] += subgroupShuffleXor(sum[i], m); }
  }
  if (thread % size < LANES) {
    tops[thread / size] = vec2f(top, total);
    for (var i = 0u; i < OWN; i++) { sums[thread / size * VECTORS + lane + i * LANES] = sum[i]; }
  }
  workgroupBarrier();
  if (thread < VECTORS) { finish(group.y, group.x, groups.x, WORKGROUP_SIZE / size, thread); }
}
