// y[row, n, :] = Σ_s softmax_s(rotated(q[n, :]) · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start
//
// One token, on GPUs with subgroups of any size: `rope_kv` and the attention after it at once. A workgroup takes a query head and
// one of groups.x parts of the cached keys. LANES threads hold a key, OWN vectors each; every such group goes through keys of its
// own, UNROLL at a time, by online softmax (arXiv 2205.14135); the first are on their way while the query is rotated. Groups meet
// by shuffles, then in workgroup memory.

override WORKGROUP_SIZE: u32 = 256;
override IS_PART: bool = false;  // y is [N, groups.x, HEAD_DIM + 4]: results; greatest score, sum of weights

struct Params {
  heads: u32,       // N
  kv_heads: u32,    // Nkv; G = N / Nkv
  rotary_dim: u32,  // r, see `rope_kv`
  start: u32,       // tokens in the cache before this one, and its position
  row: u32,         // row of this sequence in qkv and y
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
alias Keys = array<vec4<keys_t>, UNROLL * OWN>;
alias Values = array<vec4<values_t>, UNROLL * OWN>;
var<workgroup> fresh: array<f32, 3 * HEAD_DIM>;  // query, key and value of the new token, as `rope_kv` rounds them
var<workgroup> sums: array<vec4f, PARTS * VECTORS>;
var<workgroup> tops: array<vec2f, PARTS>;        // of each subgroup: the greatest score, and the sum of weights

fn fresh_at(i: u32) -> vec4f { return vec4f(fresh[i * 4], fresh[i * 4 + 1], fresh[i * 4 + 2], fresh[i * 4 + 3]); }

// Element e of the head that begins at qkv[at].
fn rotated(at: u32, e: u32) -> f32 {
  let own = f32(qkv[at + e]);
  if (e >= params.rotary_dim) { return own; }
  let half = params.rotary_dim / 2;
  let partner = select(e + half, e - half, e >= half);
  let angle = params.start * params.rotary_dim + min(e, partner);
  let other = f32(qkv[at + partner]) * select(-1.0, 1.0, e >= half);
  return own * f32(table[angle]) + other * f32(table[angle + half]);
}

fn over_lanes(partial: f32) -> f32 {
  let pair = partial + subgroupShuffleXor(partial, 1);
  let four = select(pair, pair + subgroupShuffleXor(pair, 2), LANES > 2);
  return select(four, four + subgroupShuffleXor(four, 4), LANES > 4);
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

// The thread's vectors of the UNROLL keys and values from `first` on, `stride` apart, none past `last`.
fn fetch(k: ptr<function, Keys>, v: ptr<function, Values>, first: u32, stride: u32, last: u32, kv: u32, lane: u32) {
  for (var i = 0u; i < UNROLL * OWN; i++) {
    let at = (min(first + i / OWN * stride, last) * params.kv_heads + kv) * VECTORS + lane + i % OWN * LANES;
    (*k)[i] = keys[at];
    (*v)[i] = values[at];
  }
}

// Merges what the subgroups of a workgroup have, PARTS or fewer, and writes it where it belongs, one vector a thread.
fn finish(head: u32, part: u32, parts: u32, subgroups: u32, thread: u32) {
  var top = LOWEST;
  for (var p = 0u; p < PARTS; p++) { top = max(top, select(LOWEST, tops[p].x, p < subgroups)); }
  var sum = vec4f(); var total = 0.0;
  for (var p = 0u; p < PARTS; p++) {
    let keep = select(0.0, exp(tops[p].x - top), p < subgroups);
    total += keep * tops[p].y;
    sum += keep * sums[p * VECTORS + thread];
  }
  let to = select((params.row * params.heads + head) * VECTORS, (head * parts + part) * (VECTORS + 1), IS_PART);
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
  let lane = thread % LANES; let own = thread / LANES;  // of a key, and its first key
  let stride = WORKGROUP_SIZE / LANES;
  let chunk = (params.start + groups.x - 1) / groups.x;  // cached keys of a workgroup
  let begin = group.x * chunk; let end = min(params.start, begin + chunk);
  var k: Keys; var v: Values;
  fetch(&k, &v, begin + own, stride, max(end, 1) - 1, kv, lane);
  prepare(group.y, kv, thread);
  workgroupBarrier();
  let is_first = group.x == 0 && thread < LANES;  // the new token is the first key of the first group
  var total = select(0.0, 1.0, is_first); var score = 0.0;
  var query: array<vec4f, OWN>; var sum: array<vec4f, OWN>;
  for (var i = 0u; i < OWN; i++) { query[i] = fresh_at(lane + i * LANES); }
  for (var i = 0u; i < OWN; i++) { score += dot(query[i], fresh_at(VECTORS + lane + i * LANES)); }
  for (var i = 0u; i < OWN; i++) { sum[i] = total * fresh_at(2 * VECTORS + lane + i * LANES); }
  var highest = select(LOWEST, over_lanes(score), is_first);
  for (var s = begin; s < end; s += stride * UNROLL) {
    var scores = array<f32, UNROLL>();
    for (var i = 0u; i < UNROLL * OWN; i++) { scores[i / OWN] += dot(query[i % OWN], vec4f(k[i])); }
    let before = highest;
    for (var u = 0u; u < UNROLL; u++) {
      scores[u] = select(LOWEST, over_lanes(scores[u]), s + own + u * stride < end);
      highest = max(highest, scores[u]);
    }
    for (var u = 0u; u < UNROLL; u++) { scores[u] = select(0.0, exp(scores[u] - highest), scores[u] > LOWEST); }
    total *= exp(before - highest);
    for (var u = 0u; u < UNROLL; u++) { total += scores[u]; }
    for (var i = 0u; i < OWN; i++) { sum[i] *= exp(before - highest); }
    for (var i = 0u; i < UNROLL * OWN; i++) { sum[i % OWN] += scores[i / OWN] * vec4f(v[i]); }
    if (s + stride * UNROLL < end) { fetch(&k, &v, s + stride * UNROLL + own, stride, end - 1, kv, lane); }
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
