// y[row + t, n, :] = Σ_s softmax_s(q[row + t, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start + t
//
// Many tokens on any GPU: a workgroup takes ROWS queries that share a key/value head, G of them a token, and goes through the keys in
// tiles of KEYS. Online softmax (arXiv 2205.14135). A thread computes scores of four queries, ROWS/4 apart, then four elements of
// each of their sums.

struct Params {
  tokens: u32,    // T
  heads: u32,     // N
  kv_heads: u32,  // Nkv; G = N / Nkv
  stride: u32,    // vectors in a row of q
  start: u32,     // tokens in the cache before this call
  scale: f32,
  row: u32,       // first row of this sequence in q and y
}

@group(0) @binding(0) var<storage, read> q: array<vec4<q_t>>;            // [R, stride], queries first
@group(0) @binding(1) var<storage, read> keys: array<vec4<keys_t>>;      // [S, Nkv, HEAD_DIM]
@group(0) @binding(2) var<storage, read> values: array<vec4<values_t>>;  // [S, Nkv, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;      // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;
const ROWS = 32u;
const COLUMNS = ROWS / 4;               // threads side by side, each with queries `column` + COLUMNS · i
const THREADS = COLUMNS * VECTORS;
const PITCH = VECTORS + 1;              // one vector is left free against bank conflicts
const SCORE_PITCH = ROWS + COLUMNS;
const LOWEST = -3.0e38;

var<workgroup> queries: array<vec4f, ROWS * PITCH>;
var<workgroup> cached: array<vec4f, KEYS * PITCH>;        // keys of the tile, then its values
var<workgroup> scores: array<f32, KEYS * SCORE_PITCH>;  // of a key after the other; then their weights
var<workgroup> kept: array<f32, ROWS>;                  // what is left of the sums so far; in the end, totals

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let sharing = params.heads / params.kv_heads;
  let rows = params.tokens * sharing;
  let tiles = (rows + ROWS - 1) / ROWS;
  let index = group.y * groups.x + group.x;
  // Later tiles see more keys: they go first.
  let first = (tiles - 1 - index % tiles) * ROWS;
  let kv = index / tiles;
  if (kv >= params.kv_heads) { return; }
  let width = params.kv_heads * VECTORS;
  let base = kv * VECTORS;
  let visible = params.start + min(first + ROWS - 1, rows - 1) / sharing + 1;
  let column = thread % COLUMNS;
  let vector = thread / COLUMNS;

  for (var i = thread; i < ROWS * VECTORS; i += THREADS) {
    let r = min(first + i / VECTORS, rows - 1);
    let at = (params.row + r / sharing) * params.stride + (kv * sharing + r % sharing) * VECTORS + i % VECTORS;
    queries[i / VECTORS * PITCH + i % VECTORS] = vec4f(q[at]) * params.scale;
  }
  var sums: array<vec4f, 4>;
  var highest = LOWEST;  // of query `thread`, in the first threads
  var total = 0.0;
  for (var s = 0u; s < visible; s += KEYS) {
    for (var i = thread; i < KEYS * VECTORS; i += THREADS) {
      cached[i / VECTORS * PITCH + i % VECTORS] = vec4f(keys[min(s + i / VECTORS, visible - 1) * width + base + i % VECTORS]);
    }
    workgroupBarrier();
    for (var k = vector; k < KEYS; k += VECTORS) {
      var score = vec4f();
      for (var d = 0u; d < VECTORS; d++) {
        let key = cached[k * PITCH + d];
        let at = column * PITCH + d;
        score += vec4f(
          dot(queries[at], key), dot(queries[at + COLUMNS * PITCH], key),
          dot(queries[at + 2 * COLUMNS * PITCH], key), dot(queries[at + 3 * COLUMNS * PITCH], key));
      }
      for (var i = 0u; i < 4; i++) { scores[k * SCORE_PITCH + column + COLUMNS * i] = score[i]; }
    }
    workgroupBarrier();
    for (var i = thread; i < KEYS * VECTORS; i += THREADS) {
      cached[i / VECTORS * PITCH + i % VECTORS] = vec4f(values[min(s + i / VECTORS, visible - 1) * width + base + i % VECTORS]);
    }
    if (thread < ROWS) {
      // Keys of the tile that this query sees; the first tile has one at least.
      let limit = params.start + min(first + thread, rows - 1) / sharing + 1;
      let seen = select(0, min(KEYS, limit - s), limit > s);
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
      let value = cached[k * PITCH + vector];
      let at = k * SCORE_PITCH + column;
      for (var i = 0u; i < 4; i++) { sums[i] += scores[at + COLUMNS * i] * value; }
    }
    workgroupBarrier();
  }

  if (thread < ROWS) { kept[thread] = total; }
  workgroupBarrier();
  for (var i = 0u; i < 4; i++) {
    let r = first + column + COLUMNS * i;
    if (r >= rows) { return; }
    let to = ((params.row + r / sharing) * params.heads + kv * sharing + r % sharing) * VECTORS + vector;
    y[to] = vec4<y_t>(sums[i] / kept[column + COLUMNS * i]);
  }
}
