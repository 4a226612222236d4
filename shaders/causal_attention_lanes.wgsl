// y[row + t, n, :] = Σ_s softmax_s(q[row + t, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start + t
//
// For CPUs, whose subgroups always have LANES lanes, 8 or 16. A subgroup computes QUERIES of the T·G queries that share a key/value
// head. Keys come in blocks of LANES: a lane computes the scores of one key, for which the others broadcast their parts of the
// queries; then it adds up its own elements of the values, weighted by the scores that the others broadcast. Online softmax (arXiv
// 2205.14135). HEAD_DIM: a multiple of 8.

override KV_F16: bool = false;

struct Params {
  tokens: u32,    // T
  heads: u32,     // N
  kv_heads: u32,  // Nkv; G = N / Nkv
  stride: u32,    // vectors in a row of q
  start: u32,     // tokens in the cache before this call
  scale: f32,
  row: u32,       // first row of this sequence in q and y
}

@group(0) @binding(0) var<storage, read> q: array<vec4<q_t>>;        // [R, stride], queries first
@group(0) @binding(1) var<storage, read> keys: array<vec4u>;         // [S, Nkv, HEAD_DIM] of keys_t
@group(0) @binding(2) var<storage, read> values: array<vec2u>;       // [S, Nkv, HEAD_DIM] of values_t, as keys_t
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;  // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;
const OWNED = (VECTORS + LANES - 1) / LANES;  // vectors of a query, and of its sum, that a lane has
const LOWEST = -3.0e38;
alias Eight = array<vec4f, 8>;
alias Vectors = array<vec4f, QUERIES * OWNED>;
alias Scores = array<f32, QUERIES>;

fn halves(w: vec2u) -> vec4f { return vec4f(unpack2x16float(w.x), unpack2x16float(w.y)); }
// Vectors at … at + 7 of the keys, or fewer; at is even.
fn key(at: u32, count: u32) -> Eight {
  var k: Eight;
  for (var i = 0u; i < min(8, count); i += 2) {
    let first = select(at + i, (at + i) / 2, KV_F16);
    let w = keys[first];
    k[i] = select(bitcast<vec4f>(w), halves(w.xy), KV_F16);
    k[i + 1] = select(bitcast<vec4f>(keys[first + select(1u, 0u, KV_F16)]), halves(w.zw), KV_F16);
  }
  return k;
}
// What lanes 0 … 7 have, or lanes 8 … 15, for all lanes.
fn vectors(v: vec4f, half: u32) -> Eight {
  if (half == 1) {
    return Eight(subgroupBroadcast(v, 8), subgroupBroadcast(v, 9), subgroupBroadcast(v, 10), subgroupBroadcast(v, 11),
      subgroupBroadcast(v, 12), subgroupBroadcast(v, 13), subgroupBroadcast(v, 14), subgroupBroadcast(v, 15));
  }
  return Eight(subgroupBroadcast(v, 0), subgroupBroadcast(v, 1), subgroupBroadcast(v, 2), subgroupBroadcast(v, 3),
    subgroupBroadcast(v, 4), subgroupBroadcast(v, 5), subgroupBroadcast(v, 6), subgroupBroadcast(v, 7));
}
fn numbers(v: f32, half: u32) -> mat2x4f {
  let n = vectors(vec4f(v), half);
  return mat2x4f(n[0].x, n[1].x, n[2].x, n[3].x, n[4].x, n[5].x, n[6].x, n[7].x);
}
fn max_of_lanes(v: f32) -> f32 {
  let all = array(numbers(v, 0), numbers(v, LANES / 16));
  let four = max(max(all[0][0], all[0][1]), max(all[1][0], all[1][1]));
  return max(max(four.x, four.y), max(four.z, four.w));
}

// Adds the products of the j-th vectors that eight lanes have of the queries with those of the lane's key.
fn compare(score: ptr<function, Scores>, own: ptr<function, Vectors>, at: u32, j: u32, half: u32) {
  let first = j * LANES + 8 * half;
  if (first >= VECTORS || half * 8 >= LANES) { return; }
  let k = key(at + first, VECTORS - first);
  for (var r = 0u; r < QUERIES; r++) {
    let q = vectors((*own)[r * OWNED + j], half);
    let four = q[0] * k[0] + q[1] * k[1] + q[2] * k[2] + q[3] * k[3];
    (*score)[r] += dot(four + q[4] * k[4] + q[5] * k[5] + q[6] * k[6] + q[7] * k[7], vec4f(1));
  }
}

// Adds the j-th vector that the lane has of the values of eight keys, from `start` on; `last` is the last of all.
fn add(sums: ptr<function, Vectors>, score: Scores, lane: u32, start: u32, last: u32, kv_head: u32, j: u32, half: u32) {
  if (j >= OWNED || half * 8 >= LANES) { return; }
  let vector = min(lane + j * LANES, VECTORS - 1);
  var v: Eight;
  for (var k = 0u; k < 8; k++) {
    let at = (min(start + half * 8 + k, last) * params.kv_heads + kv_head) * VECTORS + vector;
    if (KV_F16) { v[k] = halves(values[at]); } else { v[k] = bitcast<vec4f>(vec4u(values[2 * at], values[2 * at + 1])); }
  }
  for (var r = 0u; r < QUERIES; r++) {
    let w = numbers(score[r], half);
    (*sums)[r * OWNED + j] += mat4x4f(v[0], v[1], v[2], v[3]) * w[0] + mat4x4f(v[4], v[5], v[6], v[7]) * w[1];
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = group.y * groups.x + group.x;
  let shared_by = params.heads / params.kv_heads;
  let queries = params.tokens * shared_by;
  let parts = (queries + QUERIES - 1) / QUERIES;
  let kv_head = min(part / parts, params.kv_heads - 1);
  let first = part % parts * QUERIES;
  let end = params.start + min(first + QUERIES - 1, queries - 1) / shared_by + 1;  // keys that the last query sees
  var own: Vectors; var sums: Vectors;
  var highest: Scores; var total: Scores;  // total: of the lane's keys
  var latest: array<u32, QUERIES>;         // the last key that a query sees
  for (var r = 0u; r < QUERIES; r++) {
    highest[r] = LOWEST;
    let query = min(first + r, queries - 1);
    latest[r] = params.start + query / shared_by;
    let at = (params.row + query / shared_by) * params.stride + (kv_head * shared_by + query % shared_by) * VECTORS;
    for (var j = lane; j < VECTORS; j += LANES) { own[r * OWNED + j / LANES] = vec4f(q[at + j]) * params.scale; }
  }
  for (var s = 0u; s < end; s += LANES) {
    let at = (min(s + lane, end - 1) * params.kv_heads + kv_head) * VECTORS;
    var score = Scores();
    for (var half = 0u; half < 2; half++) {
      compare(&score, &own, at, 0, half);  // apart from the others, to keep heads of one or two in registers
      compare(&score, &own, at, 1, half);
      for (var j = 2u; j < OWNED; j++) { compare(&score, &own, at, j, half); }
    }
    for (var r = 0u; r < QUERIES; r++) {
      let seen = select(LOWEST, score[r], s + lane <= latest[r]);
      let next = max(highest[r], max_of_lanes(seen));
      let keep = exp(highest[r] - next);
      score[r] = exp(seen - next);
      total[r] = total[r] * keep + score[r];
      highest[r] = next;
      for (var j = r * OWNED; j < r * OWNED + OWNED; j++) { sums[j] *= keep; }
    }
    for (var half = 0u; half < 2; half++) {
      add(&sums, score, lane, s, end - 1, kv_head, 0, half);
      add(&sums, score, lane, s, end - 1, kv_head, 1, half);
      for (var j = 2u; j < OWNED; j++) { add(&sums, score, lane, s, end - 1, kv_head, j, half); }
    }
  }
  if (part / parts >= params.kv_heads) { return; }
  for (var r = 0u; r < QUERIES; r++) {
    let all = numbers(total[r], 0) + f32(LANES / 16) * numbers(total[r], LANES / 16);
    let sum = dot(all[0] + all[1], vec4f(1));
    let to = ((params.row + (first + r) / shared_by) * params.heads + kv_head * shared_by + (first + r) % shared_by) * VECTORS;
    for (var j = lane; j < VECTORS && first + r < queries; j += LANES) { y[to + j] = vec4<y_t>(sums[r * OWNED + j / LANES] / sum); }
  }
}
