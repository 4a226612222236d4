// y[n, h, :] = Σ_m softmax_m(q[n, h, :] · k[m, h, :] · scale) · v[m, h, :]   over all m
//
// For any GPU: a workgroup takes ROWS queries of a head and goes through the keys in tiles of KEYS. Online softmax (arXiv 2205.14135).
// A thread computes scores of four queries, ROWS/4 apart, then four elements of each of their sums.

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
const ROWS = 32u;
const KEYS = 32u;
const COLUMNS = ROWS / 4;               // threads side by side, each with queries `column` + COLUMNS · i
const THREADS = COLUMNS * VECTORS;
const PITCH = VECTORS + 1;              // one vector is left free against bank conflicts
const SCORE_PITCH = ROWS + COLUMNS;
const LOWEST = -3.0e38;

var<workgroup> queries: array<vec4f, ROWS * PITCH>;
var<workgroup> keys: array<vec4f, KEYS * PITCH>;
var<workgroup> values: array<vec4f, KEYS * PITCH>;
var<workgroup> scores: array<f32, KEYS * SCORE_PITCH>;  // of a key after the other; then their weights
var<workgroup> kept: array<f32, ROWS>;                  // what is left of the sums so far; in the end, totals

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let tiles = (params.tokens + ROWS - 1) / ROWS;
  let index = group.y * groups.x + group.x;
  let first = index % tiles * ROWS;
  let head = index / tiles % params.heads;
  let image = index / tiles / params.heads;
  if (image >= params.batch) { return; }
  let last = params.tokens - 1;
  let width = params.heads * VECTORS;
  let base = image * params.tokens * 3 * width + head * VECTORS;
  let column = thread % COLUMNS;
  let vector = thread / COLUMNS;

  for (var i = thread; i < ROWS * VECTORS; i += THREADS) {
    let at = base + min(first + i / VECTORS, last) * 3 * width + i % VECTORS;
    queries[i / VECTORS * PITCH + i % VECTORS] = vec4f(qkv[at]) * params.scale;
  }
  var sums: array<vec4f, 4>;
  var highest = LOWEST;  // of query `thread`, in the first threads
  var total = 0.0;
  for (var m = 0u; m < params.tokens; m += KEYS) {
    for (var i = thread; i < KEYS * VECTORS; i += THREADS) {
      let at = base + min(m + i / VECTORS, last) * 3 * width + i % VECTORS;
      keys[i / VECTORS * PITCH + i % VECTORS] = vec4f(qkv[at + width]);
      values[i / VECTORS * PITCH + i % VECTORS] = vec4f(qkv[at + 2 * width]);
    }
    workgroupBarrier();
    for (var k = vector; k < KEYS; k += VECTORS) {
      var score = vec4f();
      for (var d = 0u; d < VECTORS; d++) {
        let key = keys[k * PITCH + d];
        let at = column * PITCH + d;
        score += vec4f(
          dot(queries[at], key), dot(queries[at + COLUMNS * PITCH], key),
          dot(queries[at + 2 * COLUMNS * PITCH], key), dot(queries[at + 3 * COLUMNS * PITCH], key));
      }
      for (var i = 0u; i < 4; i++) { scores[k * SCORE_PITCH + column + COLUMNS * i] = score[i]; }
    }
    workgroupBarrier();
    if (thread < ROWS) {
      let seen = min(KEYS, params.tokens - m);
      var next = highest;
      for (var k = 0u; k < seen; k++) { next = max(next, scores[k * SCORE_PITCH + thread]); }
      let keep = exp(highest - next);
      total *= keep;
      for (var k = 0u; k < KEYS; k++) {
        let weight = select(0.0, exp(scores[k * SCORE_PITCH + thread] - next), k < seen);
        total += weight;
        scores[k * SCORE_PITCH + thread] = weight;
      }
      highest = next;
      kept[thread] = keep;
    }
    workgroupBarrier();
    for (var i = 0u; i < 4; i++) { sums[i] *= kept[column + COLUMNS * i]; }
    for (var k = 0u; k < KEYS; k++) {
      let value = values[k * PITCH + vector];
      let at = k * SCORE_PITCH + column;
      for (var i = 0u; i < 4; i++) { sums[i] += scores[at + COLUMNS * i] * value; }
    }
    workgroupBarrier();
  }

  if (thread < ROWS) { kept[thread] = total; }
  workgroupBarrier();
  for (var i = 0u; i < 4; i++) {
    let query = first + column + COLUMNS * i;
    if (query > last) { return; }
    y[(image * params.tokens + query) * width + head * VECTORS + vector] = vec4<y_t>(sums[i] / kept[column + COLUMNS * i]);
  }
}
