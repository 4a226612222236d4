// y[row, n, :] = Σ_s softmax_s(q[row, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start
//
// One token on any GPU: a workgroup per query head. Over keys in blocks of WORKGROUP_SIZE, first a thread is a key and computes
// its score, then it is one vector of the head in one of SLOTS slots, which share the keys of the block between them. Online
// softmax (arXiv 2205.14135). HEAD_DIM / 4 must not exceed WORKGROUP_SIZE.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  heads: u32,     // N
  kv_heads: u32,  // Nkv; G = N / Nkv
  start: u32,     // tokens in the cache before this one
  scale: f32,
  stride: u32,    // vectors in a row of q
  row: u32,       // row of this sequence in q and y
}

@group(0) @binding(0) var<storage, read> q: array<vec4<q_t>>;            // [R, stride], queries first
@group(0) @binding(1) var<storage, read> keys: array<vec4<keys_t>>;      // [S, Nkv, HEAD_DIM]
@group(0) @binding(2) var<storage, read> values: array<vec4<values_t>>;  // [S, Nkv, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;      // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;
const LOWEST = -3.0e38;

var<workgroup> query: array<vec4f, VECTORS>;
var<workgroup> scores: array<f32, WORKGROUP_SIZE>;
var<workgroup> weights: array<f32, WORKGROUP_SIZE>;
var<workgroup> sums: array<vec4f, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let head = group.y * groups.x + group.x;
  if (head >= params.heads) { return; }
  let base = head / (params.heads / params.kv_heads) * VECTORS;
  let width = params.kv_heads * VECTORS;
  let visible = params.start + 1;
  let slots = WORKGROUP_SIZE / VECTORS;
  let slot = thread / VECTORS;
  let own = base + thread % VECTORS;

  if (thread < VECTORS) { query[thread] = vec4f(q[params.row * params.stride + head * VECTORS + thread]) * params.scale; }
  workgroupBarrier();
  var sum = vec4f();
  var highest = LOWEST;
  var total = 0.0;
  for (var s = 0u; s < visible; s += WORKGROUP_SIZE) {
    var score = LOWEST;
    if (s + thread < visible) {
      let key = (s + thread) * width + base;
      score = 0.0;
      for (var i = 0u; i < VECTORS; i++) { score += dot(query[i], vec4f(keys[key + i])); }
    }
    scores[thread] = score;
    workgroupBarrier();
    var next = highest;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) { next = max(next, scores[i]); }
    let weight = exp(score - next);
    let keep = exp(highest - next);
    highest = next;
    total = total * keep + weight;
    weights[thread] = weight;
    workgroupBarrier();
    sum *= keep;
    let count = select(0, min(WORKGROUP_SIZE, visible - s), slot < slots);
    for (var k = slot; k < count; k += slots) { sum += weights[k] * vec4f(values[(s + k) * width + own]); }
  }
  workgroupBarrier();
  sums[thread] = sum;
  weights[thread] = total;
  workgroupBarrier();
  if (thread >= VECTORS) { return; }
  for (var k = 1u; k < slots; k++) { sum += sums[k * VECTORS + thread]; }
  total = 0.0;
  for (var i = 0u; i < WORKGROUP_SIZE; i++) { total += weights[i]; }
  y[(params.row * params.heads + head) * VECTORS + thread] = vec4<y_t>(sum / total);
}
