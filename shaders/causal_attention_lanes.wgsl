// y[row + t, n, :] = Σ_s softmax_s(q[row + t, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start + t
//
// For adapters with subgroups of exactly 8 lanes. A subgroup computes 4·QUADS of the T·G queries that share a key/value head, four
// in the components of a vector. A lane owns every eighth unit of 8 elements of the head, which it loads as packed words. Over keys
// in blocks of 8, two at a time: products of its own elements are added over the lanes, lane k keeps the scores of key k; then it
// adds up its elements of the values. Online softmax (arXiv 2205.14135). HEAD_DIM: a multiple of 8.

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
@group(0) @binding(2) var<storage, read> values: array<vec4u>;       // [S, Nkv, HEAD_DIM] of values_t, as keys_t
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;  // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const UNITS = HEAD_DIM / 8;
const OWNED = (UNITS + 7) / 8;  // units of a head that a lane has
const LOWEST = -3.0e38;

struct Eight { a: vec4f, b: vec4f }        // the elements of a unit
struct Queries { a: mat4x4f, b: mat4x4f }  // those of four queries; column: element
fn eight(w: vec4u, next: vec4u) -> Eight {
  if (!KV_F16) { return Eight(bitcast<vec4f>(w), bitcast<vec4f>(next)); }
  return Eight(vec4f(unpack2x16float(w.x), unpack2x16float(w.y)), vec4f(unpack2x16float(w.z), unpack2x16float(w.w)));
}
fn key(unit: u32) -> Eight {
  let at = select(unit * 2, unit, KV_F16);
  return eight(keys[at], keys[at + 1]);
}
fn value(unit: u32) -> Eight {
  let at = select(unit * 2, unit, KV_F16);
  return eight(values[at], values[at + 1]);
}
fn max_of_lanes(v: vec4f) -> vec4f {
  let four = max(max(v, subgroupShuffleXor(v, 1)), max(subgroupShuffleXor(v, 2), subgroupShuffleXor(v, 3)));
  return max(four, subgroupShuffleXor(four, 4));
}
fn sum_of_lanes(v: vec4f) -> vec4f {
  let four = (v + subgroupShuffleXor(v, 1)) + (subgroupShuffleXor(v, 2) + subgroupShuffleXor(v, 3));
  return four + subgroupShuffleXor(four, 4);
}
fn weighted(w: vec4f, v: vec4f) -> mat4x4f { return mat4x4f(w * v.x, w * v.y, w * v.z, w * v.w); }
fn scaled(s: Queries, w: vec4f) -> Queries {
  return Queries(mat4x4f(s.a[0] * w, s.a[1] * w, s.a[2] * w, s.a[3] * w), mat4x4f(s.b[0] * w, s.b[1] * w, s.b[2] * w, s.b[3] * w));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = group.y * groups.x + group.x;
  let shared_by = params.heads / params.kv_heads;
  let queries = params.tokens * shared_by;
  let parts = (queries + 4 * QUADS - 1) / (4 * QUADS);
  let kv_head = min(part / parts, params.kv_heads - 1);
  let first = part % parts * 4 * QUADS;
  let end = params.start + min(first + 4 * QUADS - 1, queries - 1) / shared_by + 1;  // keys that the last query sees
  var own: array<Queries, QUADS * OWNED>;
  var sums: array<Queries, QUADS * OWNED>;
  var visible: array<vec4u, QUADS>;
  var highest: array<vec4f, QUADS>;
  var total: array<vec4f, QUADS>;
  for (var i = 0u; i < QUADS; i++) {
    highest[i] = vec4f(LOWEST);
    visible[i] = params.start + min(first + i * 4 + vec4u(0, 1, 2, 3), vec4u(queries - 1)) / shared_by + 1;
    for (var r = 0u; r < 4 && first + i * 4 + r < queries; r++) {
      let query = first + i * 4 + r;
      let at = (params.row + query / shared_by) * params.stride + (kv_head * shared_by + query % shared_by) * (UNITS * 2);
      let place = params.scale * vec4f(vec4u(0, 1, 2, 3) == vec4u(r));
      for (var j = 0u; j < OWNED; j++) {
        let unit = lane + j * 8;  // past the head its products count nothing
        own[i * OWNED + j].a += weighted(place, select(vec4f(), vec4f(q[at + unit * 2]), unit < UNITS));
        own[i * OWNED + j].b += weighted(place, select(vec4f(), vec4f(q[at + unit * 2 + 1]), unit < UNITS));
      }
    }
  }
  for (var s = 0u; s < end; s += 8) {
    var score = array<vec4f, QUADS>();
    for (var k = 0u; k < 8; k += 2) {
      let at = (min(s + k + vec2u(0, 1), vec2u(end - 1)) * params.kv_heads + kv_head) * UNITS;
      var even = array<vec4f, QUADS>();
      var odd = array<vec4f, QUADS>();
      for (var j = 0u; j < OWNED; j++) {
        let v = key(at.x + min(lane + j * 8, UNITS - 1));
        let w = key(at.y + min(lane + j * 8, UNITS - 1));
        for (var i = 0u; i < QUADS; i++) {
          even[i] += own[i * OWNED + j].a * v.a + own[i * OWNED + j].b * v.b;
          odd[i] += own[i * OWNED + j].a * w.a + own[i * OWNED + j].b * w.b;
        }
      }
      for (var i = 0u; i < QUADS; i++) {
        score[i] = select(select(score[i], sum_of_lanes(even[i]), lane == k), sum_of_lanes(odd[i]), lane == k + 1);
      }
    }
    for (var i = 0u; i < QUADS; i++) {
      let seen = select(vec4f(LOWEST), score[i], vec4u(s + lane) < visible[i]);
      let next = max(highest[i], max_of_lanes(seen));
      let keep = exp(highest[i] - next);
      score[i] = exp(seen - next);
      total[i] = total[i] * keep + score[i];
      highest[i] = next;
      for (var j = i * OWNED; j < i * OWNED + OWNED; j++) { sums[j] = scaled(sums[j], keep); }
    }
    for (var k = 0u; k < 8; k += 2) {
      let at = (min(s + k + vec2u(0, 1), vec2u(end - 1)) * params.kv_heads + kv_head) * UNITS;
      for (var j = 0u; j < OWNED; j++) {
        let v = value(at.x + min(lane + j * 8, UNITS - 1));
        let w = value(at.y + min(lane + j * 8, UNITS - 1));
        for (var i = 0u; i < QUADS; i++) {
          let a = subgroupShuffle(score[i], k);
          let b = subgroupShuffle(score[i], k + 1);
          sums[i * OWNED + j].a += weighted(a, v.a) + weighted(b, w.a);
          sums[i * OWNED + j].b += weighted(a, v.b) + weighted(b, w.b);
        }
      }
    }
  }
  if (part / parts >= params.kv_heads) { return; }
  for (var i = 0u; i < QUADS; i++) {
    let all = sum_of_lanes(total[i]);
    for (var unit = lane; unit < UNITS; unit += 8) {
      let a = transpose(sums[i * OWNED + unit / 8].a);
      let b = transpose(sums[i * OWNED + unit / 8].b);
      for (var r = 0u; r < 4 && first + i * 4 + r < queries; r++) {
        let query = first + i * 4 + r;
        let to = ((params.row + query / shared_by) * params.heads + kv_head * shared_by + query % shared_by) * UNITS + unit;
        y[to * 2] = vec4<y_t>(a[r] / all[r]);
        y[to * 2 + 1] = vec4<y_t>(b[r] / all[r]);
      }
    }
  }
}
