// y[n, h, :] = Σ_m softmax_m(q[n, h, :] · k[m, h, :] · scale) · v[m, h, :]   over all m
//
// For f16 on GPUs whose subgroups of 32 multiply 16 × 16 matrices: a subgroup takes 16 queries of a head, a workgroup 64 of them, and all
// go through the keys in tiles of 32. Between the two products, scores become weights in the lanes, two lanes a query: online softmax
// (arXiv 2205.14135). HEAD_DIM must be a multiple of 8;
// matrices are filled up with zeros.

struct Params {
  batch: u32,   // B
  tokens: u32,  // N
  heads: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec4u>;          // [B, N, 3, heads, HEAD_DIM] of f16 in eights
@group(0) @binding(1) var<storage, read_write> y: array<vec4<y_t>>;  // [B, N, heads, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sums = subgroup_matrix_result<f32, 16, 16>;

const SUBGROUPS = 4u;
const THREADS = SUBGROUPS * 32;
const ROWS = SUBGROUPS * 16;
const KEYS = 32u;
const VECTORS = HEAD_DIM / 8;
const QUADS = HEAD_DIM / 8;             // of a lane: half a query's result, in vec4f
const PADDED = (VECTORS + 1) / 2 * 2;  // vectors of whole matrices
// Vectors from row to row; one is left free against bank conflicts.
const PITCH = PADDED + 1;
const WEIGHT_PITCH = KEYS / 8 + 1;
const SUM_PITCH = max(KEYS, PADDED * 8) / 4 + 1;
const LOWEST = -3.0e38;

var<workgroup> queries: array<vec4u, ROWS * PITCH>;
var<workgroup> keys: array<vec4u, KEYS * PITCH>;
var<workgroup> values: array<vec4u, KEYS * PITCH>;
var<workgroup> sums: array<vec4f, ROWS * SUM_PITCH>;         // scores, then what the tile adds to the result
var<workgroup> weights: array<vec4u, ROWS * WEIGHT_PITCH>;

fn largest(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

// Of the head whose elements begin at `at`; zeros past it.
fn vector(at: u32, i: u32) -> vec4u { return select(vec4u(0), qkv[at + min(i, VECTORS - 1)], i < VECTORS); }

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let tiles = (params.tokens + ROWS - 1) / ROWS;
  let index = group.y * groups.x + group.x;
  let first = index % tiles * ROWS;
  let head = index / tiles % params.heads;
  let image = min(index / tiles / params.heads, params.batch - 1);
  let last = params.tokens - 1;
  let width = params.heads * VECTORS;
  let base = image * params.tokens * 3 * width + head * VECTORS;
  let own = subgroup * 16;             // first row of this subgroup
  let row = own + lane / 2;            // of this lane
  let half = lane % 2;                 // of the row

  for (var i = thread; i < ROWS * PADDED; i += THREADS) {
    let at = base + min(first + i / PADDED, last) * 3 * width;
    queries[i / PADDED * PITCH + i % PADDED] = vector(at, i % PADDED);
  }
  var result: array<vec4f, QUADS>;
  var highest = LOWEST;
  var total = 0.0;
  for (var m = 0u; m < params.tokens; m += KEYS) {
    for (var i = thread; i < KEYS * PADDED; i += THREADS) {
      let at = base + min(m + i / PADDED, last) * 3 * width;
      keys[i / PADDED * PITCH + i % PADDED] = vector(at + width, i % PADDED);
      values[i / PADDED * PITCH + i % PADDED] = vector(at + 2 * width, i % PADDED);
    }
    workgroupBarrier();
    for (var k = 0u; k < KEYS / 16; k++) {
      var scores = Sums(0.0);
      for (var d = 0u; d < PADDED; d += 2) {
        let a = subgroupMatrixLoad<Left, row_major>(&queries, own * PITCH + d, PITCH);
        let b = subgroupMatrixLoad<Right, col_major>(&keys, k * 16 * PITCH + d, PITCH);
        scores = subgroupMatrixMultiplyAccumulate(a, b, scores);
      }
      subgroupMatrixStore<row_major>(&sums, own * SUM_PITCH + k * 4, scores, SUM_PITCH);
    }
    workgroupBarrier();
    var s: array<vec4f, 4>;
    var next = highest;
    for (var i = 0u; i < 4; i++) {
      let key = m + half * 16 + i * 4;
      let score = sums[row * SUM_PITCH + half * 4 + i] * params.scale;
      s[i] = select(vec4f(LOWEST), score, vec4u(key, key + 1, key + 2, key + 3) <= vec4u(last));
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
    for (var i = 0u; i < 2; i++) {
      let a = s[2 * i];
      let b = s[2 * i + 1];
      weights[row * WEIGHT_PITCH + half * 2 + i] =
        vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
    }
    workgroupBarrier();
    for (var d = 0u; d < PADDED; d += 2) {
      var added = Sums(0.0);
      for (var k = 0u; k < KEYS / 16; k++) {
        let a = subgroupMatrixLoad<Left, row_major>(&weights, own * WEIGHT_PITCH + k * 2, WEIGHT_PITCH);
        let b = subgroupMatrixLoad<Right, row_major>(&values, k * 16 * PITCH + d, PITCH);
        added = subgroupMatrixMultiplyAccumulate(a, b, added);
      }
      subgroupMatrixStore<row_major>(&sums, own * SUM_PITCH + d * 2, added, SUM_PITCH);
    }
    workgroupBarrier();
    for (var i = 0u; i < QUADS; i++) { result[i] = result[i] * keep + sums[row * SUM_PITCH + half * QUADS + i]; }
  }

  total += subgroupShuffleXor(total, 1);
  if (first + row > last || index / tiles / params.heads >= params.batch) { return; }
  let to = ((image * params.tokens + first + row) * width + head * VECTORS) * 2 + half * QUADS;
  for (var i = 0u; i < QUADS; i++) { y[to + i] = vec4<y_t>(result[i] / total); }
}
