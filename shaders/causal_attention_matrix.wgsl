// y[row + t, n, :] = Σ_s softmax_s(q[row + t, n, :] · keys[s, n/G, :] · scale) · values[s, n/G, :]   over s ≤ start + t
//
// Many tokens and a cache of f16 on GPUs whose subgroups of 32 multiply 16 × 16 matrices: a subgroup takes 16 queries that share a
// key/value head, G of them a token, and all of a workgroup go through the keys in tiles of 32. Between the two products, scores become
// weights in the lanes, two lanes a query: online softmax (arXiv 2205.14135). HEAD_DIM must be a multiple of 16.

struct Params {
  tokens: u32,    // T
  heads: u32,     // N
  kv_heads: u32,  // Nkv; G = N / Nkv
  stride: u32,    // vectors of four in a row of q
  start: u32,     // tokens in the cache before this call
  scale: f32,
  row: u32,       // first row of this sequence in q and y
}

@group(0) @binding(0) var<storage, read> q: array<vec4<q_t>>;        // [R, stride], queries first
@group(0) @binding(1) var<storage, read> keys: array<vec4u>;         // [S, Nkv, HEAD_DIM] of f16 in eights
@group(0) @binding(2) var<storage, read> values: array<vec4u>;       // [S, Nkv, HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;  // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sums = subgroup_matrix_result<f32, 16, 16>;

const THREADS = SUBGROUPS * 32;
const ROWS = SUBGROUPS * 16;
const KEYS = 32u;
const VECTORS = HEAD_DIM / 8;
const QUADS = HEAD_DIM / 8;  // of a lane: half a query's result, in vec4f
// Vectors from row to row; one is left free against bank conflicts.
const PITCH = VECTORS + 1;
const WEIGHT_PITCH = KEYS / 8 + 1;
const SUM_PITCH = max(KEYS, HEAD_DIM) / 4 + 1;
const LOWEST = -3.0e38;

var<workgroup> query_tile: array<vec4u, ROWS * PITCH>;
var<workgroup> key_tile: array<vec4u, KEYS * PITCH>;
var<workgroup> value_tile: array<vec4u, KEYS * PITCH>;
var<workgroup> sums: array<vec4f, ROWS * SUM_PITCH>;  // scores, then what the tile adds to the result
var<workgroup> weights: array<vec4u, ROWS * WEIGHT_PITCH>;

fn largest(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

fn halves(a: vec4f, b: vec4f) -> vec4u {
  return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let sharing = params.heads / params.kv_heads;
  let rows = params.tokens * sharing;
  let tiles = (rows + ROWS - 1) / ROWS;
  let index = group.y * groups.x + group.x;
  let first = (tiles - 1 - index % tiles) * ROWS;  // later tiles see more keys: they go first
  let kv = min(index / tiles, params.kv_heads - 1);
  let width = params.kv_heads * VECTORS;
  let base = kv * VECTORS;
  let visible = params.start + min(first + ROWS - 1, rows - 1) / sharing + 1;
  let own = subgroup * 16;   // first row of this subgroup
  let row = own + lane / 2;  // of this lane
  let half = lane % 2;       // of the row
  let limit = params.start + min(first + row, rows - 1) / sharing + 1;

  for (var i = thread; i < ROWS * VECTORS; i += THREADS) {
    let r = min(first + i / VECTORS, rows - 1);
    let at = (params.row + r / sharing) * params.stride + ((kv * sharing + r % sharing) * VECTORS + i % VECTORS) * 2;
    query_tile[i / VECTORS * PITCH + i % VECTORS] = halves(vec4f(q[at]), vec4f(q[at + 1]));
  }
  var result: array<vec4f, QUADS>;
  var highest = LOWEST;
  var total = 0.0;
  for (var m = 0u; m < visible; m += KEYS) {
    for (var i = thread; i < KEYS * VECTORS; i += THREADS) {
      let at = min(m + i / VECTORS, visible - 1) * width + base + i % VECTORS;
      key_tile[i / VECTORS * PITCH + i % VECTORS] = keys[at];
      value_tile[i / VECTORS * PITCH + i % VECTORS] = values[at];
    }
    workgroupBarrier();
    for (var k = 0u; k < KEYS / 16; k++) {
      var scores = Sums(0.0);
      for (var d = 0u; d < VECTORS; d += 2) {
        let a = subgroupMatrixLoad<Left, row_major>(&query_tile, own * PITCH + d, PITCH);
        let b = subgroupMatrixLoad<Right, col_major>(&key_tile, k * 16 * PITCH + d, PITCH);
        scores = subgroupMatrixMultiplyAccumulate(a, b, scores);
      }
      subgroupMatrixStore<row_major>(&sums, own * SUM_PITCH + k * 4, scores, SUM_PITCH);
    }
    workgroupBarrier();
    var s: array<vec4f, 4>;
    var next = highest;
    for (var i = 0u; i < 4; i++) {
      let key = m + half * 16 + i * 4;
      let seen = vec4u(key, key + 1, key + 2, key + 3) < vec4u(limit);
      s[i] = select(vec4f(LOWEST), sums[row * SUM_PITCH + half * 4 + i] * params.scale, seen);
      next = max(next, largest(s[i]));
    }
    next = max(next, subgroupShuffleXor(next, 1));
    let keep = exp(highest - next);
    highest = next;
    total *= keep;
    for (var i = 0u; i < 4; i++) {
      s[i] = exp(s[i] - next);
      total += dot(s[i], vec4f(1));
    }
    weights[row * WEIGHT_PITCH + half * 2] = halves(s[0], s[1]);
    weights[row * WEIGHT_PITCH + half * 2 + 1] = halves(s[2], s[3]);
    workgroupBarrier();
    for (var d = 0u; d < VECTORS; d += 2) {
      var added = Sums(0.0);
      for (var k = 0u; k < KEYS / 16; k++) {
        let a = subgroupMatrixLoad<Left, row_major>(&weights, own * WEIGHT_PITCH + k * 2, WEIGHT_PITCH);
        let b = subgroupMatrixLoad<Right, row_major>(&value_tile, k * 16 * PITCH + d, PITCH);
        added = subgroupMatrixMultiplyAccumulate(a, b, added);
      }
      subgroupMatrixStore<row_major>(&sums, own * SUM_PITCH + d * 2, added, SUM_PITCH);
    }
    workgroupBarrier();
    for (var i = 0u; i < QUADS; i++) { result[i] = result[i] * keep + sums[row * SUM_PITCH + half * QUADS + i]; }
  }

  total += subgroupShuffleXor(total, 1);
  let r = first + row;
  if (r >= rows || index / tiles >= params.kv_heads) { return; }
  let to = (((params.row + r / sharing) * params.heads + kv * sharing + r % sharing) * VECTORS) * 2 + half * QUADS;
  for (var i = 0u; i < QUADS; i++) { y[to + i] = vec4<y_t>(result[i] / total); }
}
