// y[n, h, :] = Σ_m softmax_m(q[n, h, :] · k[m, h, :] · scale) · v[m, h, :]   over all m
//
// For adapters with subgroups of exactly 8 lanes: a lane computes one query of one head. Keys come in blocks of 8, one loaded
// by each lane and spread by shuffles. Online softmax (arXiv 2205.14135), so no score matrix is stored.

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

fn largest(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  let parts = (params.tokens + 7) / 8;
  let query = part % parts * 8 + lane;
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
  for (var m = 0u; m < params.tokens; m += 8) {
    let key = base + (min(m + lane, last) * 3 + 1) * width;
    var low = vec4f();  // scores of keys m … m + 3
    var high = vec4f();  // and of m + 4 … m + 7
    for (var i = 0u; i < VECTORS; i++) {
      let k = load(key + i);
      let v = q[i];
      low.x += dot(v, subgroupShuffle(k, 0));
      low.y += dot(v, subgroupShuffle(k, 1));
      low.z += dot(v, subgroupShuffle(k, 2));
      low.w += dot(v, subgroupShuffle(k, 3));
      high.x += dot(v, subgroupShuffle(k, 4));
      high.y += dot(v, subgroupShuffle(k, 5));
      high.z += dot(v, subgroupShuffle(k, 6));
      high.w += dot(v, subgroupShuffle(k, 7));
    }
    let index = vec4u(m, m + 1, m + 2, m + 3);
    low = select(low, vec4f(LOWEST), index > vec4u(last));
    high = select(high, vec4f(LOWEST), index + 4 > vec4u(last));
    let next = max(highest, max(largest(low), largest(high)));
    let keep = exp(highest - next);
    low = exp(low - next);
    high = exp(high - next);
    total = total * keep + dot(low + high, vec4f(1));
    for (var i = 0u; i < VECTORS; i++) {
      let v = load(key + width + i);
      var s = sum[i] * keep;
      s += low.x * subgroupShuffle(v, 0);
      s += low.y * subgroupShuffle(v, 1);
      s += low.z * subgroupShuffle(v, 2);
      s += low.w * subgroupShuffle(v, 3);
      s += high.x * subgroupShuffle(v, 4);
      s += high.y * subgroupShuffle(v, 5);
      s += high.z * subgroupShuffle(v, 6);
      s += high.w * subgroupShuffle(v, 7);
      sum[i] = s;
    }
    highest = next;
  }
  if (query > last || image >= params.batch) { return; }
  let to = (image * params.tokens + query) * width + head * VECTORS;
  for (var i = 0u; i < VECTORS; i++) { y[to + i] = vec4<y_t>(sum[i] / total); }
}
