// y[n, h, :] = Σ_m softmax_m(q[n, h, :] · k[m, h, :] · scale) · v[m, h, :]   over all m
//
// For CPUs, whose subgroups always have LANES lanes, 8 or 16: a lane computes one query of one head. Keys come in blocks of LANES, one
// loaded by each lane and spread by broadcasts. Online softmax (arXiv 2205.14135), so no score matrix is stored.

override HALF: bool = false;  // elements are f16

struct Params {
  batch: u32,   // B
  tokens: u32,  // N
  heads: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec2u>;          // [B, N, 3, heads, HEAD_DIM] of qkv_t
@group(0) @binding(1) var<storage, read_write> y: array<vec4<y_t>>;  // [B, N, heads, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;
const LOWEST = -3.0e38;

fn load(at: u32) -> vec4f {
  if (HALF) { return vec4f(unpack2x16float(qkv[at].x), unpack2x16float(qkv[at].y)); }
  return vec4f(bitcast<vec2f>(qkv[2 * at]), bitcast<vec2f>(qkv[2 * at + 1]));
}

struct Scores { a: vec4f, b: vec4f, c: vec4f, d: vec4f }  // of LANES keys

fn largest(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

// Adds the products of a vector of the query with those of the keys, of which each lane holds one.
fn compare(s: ptr<function, Scores>, q: vec4f, k: vec4f) {
  (*s).a.x += dot(q, subgroupBroadcast(k, 0));
  (*s).a.y += dot(q, subgroupBroadcast(k, 1));
  (*s).a.z += dot(q, subgroupBroadcast(k, 2));
  (*s).a.w += dot(q, subgroupBroadcast(k, 3));
  (*s).b.x += dot(q, subgroupBroadcast(k, 4));
  (*s).b.y += dot(q, subgroupBroadcast(k, 5));
  (*s).b.z += dot(q, subgroupBroadcast(k, 6));
  (*s).b.w += dot(q, subgroupBroadcast(k, 7));
  if (LANES == 8) { return; }
  (*s).c.x += dot(q, subgroupBroadcast(k, 8));
  (*s).c.y += dot(q, subgroupBroadcast(k, 9));
  (*s).c.z += dot(q, subgroupBroadcast(k, 10));
  (*s).c.w += dot(q, subgroupBroadcast(k, 11));
  (*s).d.x += dot(q, subgroupBroadcast(k, 12));
  (*s).d.y += dot(q, subgroupBroadcast(k, 13));
  (*s).d.z += dot(q, subgroupBroadcast(k, 14));
  (*s).d.w += dot(q, subgroupBroadcast(k, 15));
}

// Adds up a vector of the values, of which each lane holds one.
fn add(start: vec4f, s: Scores, v: vec4f) -> vec4f {
  var sum = start;
  sum += s.a.x * subgroupBroadcast(v, 0);
  sum += s.a.y * subgroupBroadcast(v, 1);
  sum += s.a.z * subgroupBroadcast(v, 2);
  sum += s.a.w * subgroupBroadcast(v, 3);
  sum += s.b.x * subgroupBroadcast(v, 4);
  sum += s.b.y * subgroupBroadcast(v, 5);
  sum += s.b.z * subgroupBroadcast(v, 6);
  sum += s.b.w * subgroupBroadcast(v, 7);
  if (LANES == 8) { return sum; }
  sum += s.c.x * subgroupBroadcast(v, 8);
  sum += s.c.y * subgroupBroadcast(v, 9);
  sum += s.c.z * subgroupBroadcast(v, 10);
  sum += s.c.w * subgroupBroadcast(v, 11);
  sum += s.d.x * subgroupBroadcast(v, 12);
  sum += s.d.y * subgroupBroadcast(v, 13);
  sum += s.d.z * subgroupBroadcast(v, 14);
  sum += s.d.w * subgroupBroadcast(v, 15);
  return sum;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts = (params.tokens + LANES - 1) / LANES;
  let query = part % parts * LANES + lane;
  let head = part / parts % params.heads;
  let image = part / parts / params.heads;
  let last = params.tokens - 1;
  let width = params.heads * VECTORS;
  let base = min(image, params.batch - 1) * params.tokens * 3 * width + head * VECTORS;

  var q: array<vec4f, VECTORS>;
  var sum: array<vec4f, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) { q[i] = load(base + min(query, last) * 3 * width + i) * params.scale; }
  var highest = LOWEST;
  var total = 0.0;
  for (var m = 0u; m < params.tokens; m += LANES) {
    let key = base + (min(m + lane, last) * 3 + 1) * width;
    var s = Scores();
    for (var i = 0u; i < VECTORS; i++) { compare(&s, q[i], load(key + i)); }
    let index = m + vec4u(0, 1, 2, 3);
    s.a = select(s.a, vec4f(LOWEST), index > vec4u(last));
    s.b = select(s.b, vec4f(LOWEST), index + 4 > vec4u(last));
    s.c = select(s.c, vec4f(LOWEST), index + 8 > vec4u(last));
    s.d = select(s.d, vec4f(LOWEST), index + 12 > vec4u(last));
    let low = largest(max(s.a, s.b));
    let next = max(highest, select(max(low, largest(max(s.c, s.d))), low, LANES == 8));
    let keep = exp(highest - next);
    s = Scores(exp(s.a - next), exp(s.b - next), exp(s.c - next), exp(s.d - next));
    total = total * keep + dot(s.a + s.b + select(s.c + s.d, vec4f(), LANES == 8), vec4f(1));
    for (var i = 0u; i < VECTORS; i++) { sum[i] = add(sum[i] * keep, s, load(key + width + i)); }
    highest = next;
  }
  if (query > last || image >= params.batch) { return; }
  let to = (image * params.tokens + query) * width + head * VECTORS;
  for (var i = 0u; i < VECTORS; i++) { y[to + i] = vec4<y_t>(sum[i] / total); }
}
