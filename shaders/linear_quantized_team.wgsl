// y[r, o] = residual[r, o] + bias[o] + Σ_c n[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32]), n = x or its RMS norm
//
// Few rows (decoding) on GPUs with subgroups of any size. A team of TEAM threads computes 8 outputs of ROWS rows, and reads their
// codes once: a thread is an output, and each further 8 threads take the next group of inputs. Codes of UNROLL groups are loaded
// before any is used: memory is what decoding waits for. Sums meet by shuffles, then in workgroup memory. The norm takes no pass
// of its own: Σ x² is added up beside the products and divides them in the end.

override WORKGROUP_SIZE: u32 = 128;
override TEAM: u32 = 64;  // a power of two, at most WORKGROUP_SIZE and at least 8 · ROWS
override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_NORM: bool = false;
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // columns of y
  groups: u32,   // G, groups of 32 inputs, padded to an even number
  eps: f32,      // of the norm
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;          // [R, C]
@group(0) @binding(1) var<storage, read> norm: array<vec4<norm_t>>;    // [C]
@group(0) @binding(2) var<storage, read> codes: array<vec4u>;          // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(3) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(4) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(5) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(6) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

struct Packed { a: vec4u, b: vec4u, scale: vec2f }  // 32 codes, those of 4 bits all in a; scale and offset

const SUMS = ROWS * BLOCKS;  // with two blocks, y[r, o] = sum[r, o + O/2] · silu(sum[r, o]): gates, then as many ups
const VALUES = SUMS + ROWS;  // the sums, then Σ x² of each row

var<workgroup> partial: array<f32, WORKGROUP_SIZE * VALUES>;

fn load(block: u32, g: u32, lane: u32) -> Packed {
  let at = block * params.groups + g;
  if (FORMAT == 1) { return Packed(codes[at * 8 + lane], vec4u(), unpack2x16float(scales[at * 8 + lane])); }
  let pair = unpack2x16float(scales[at / 2 * 8 + lane]);
  let scale = vec2f(select(pair.x, pair.y, g % 2 == 1), 0.0);
  if (FORMAT == 0) { return Packed(codes[at * 8 + lane], vec4u(), scale); }
  return Packed(codes[at * 16 + lane], codes[at * 16 + 8 + lane], scale);
}

// Four codes of 8 (i = 0 … 7) as numbers; int4 without offset counts from 8.
fn numbers(w: Packed, i: u32) -> vec4f {
  if (FORMAT == 2) {
    let word = select(w.a[i % 4], w.b[i % 4], i > 3);
    return vec4f(bitcast<vec4i>(vec4u(word) << vec4u(24, 16, 8, 0)) >> vec4u(24));
  }
  let word = w.a[i / 2] >> (i % 2 * 16);
  if (FORMAT == 1) { return vec4f((vec4u(word) >> vec4u(0, 4, 8, 12)) & vec4u(15)); }
  return vec4f(bitcast<vec4i>(vec4u(word ^ 0x8888) << vec4u(28, 24, 20, 16)) >> vec4u(28));
}

// This thread's share of the sums of a block of outputs, and of the block of ups; rows of x begin at `row`.
fn share(row: u32, block: vec2u, slot: u32, lane: u32) -> array<f32, VALUES> {
  let count = params.inputs / 32;
  var values: array<f32, VALUES>;
  for (var first = slot; first < count; first += TEAM / 8 * UNROLL) {
    var w: array<Packed, UNROLL * BLOCKS>;
    for (var u = 0u; u < UNROLL * BLOCKS; u++) {
      w[u] = load(block[u % BLOCKS], min(first + u / BLOCKS * (TEAM / 8), count - 1), lane);
    }
    for (var u = 0u; u < UNROLL; u++) {
      let g = min(first + u * (TEAM / 8), count - 1);
      let used = select(0.0, 1.0, first + u * (TEAM / 8) < count);
      let gate = w[u * BLOCKS];
      let up = w[u * BLOCKS + BLOCKS - 1];
      for (var r = 0u; r < ROWS; r++) {
        let begin = (min(row + r, params.rows - 1) * count + g) * 8;
        var sums = vec3f();  // of products with gate and up, and of the inputs
        for (var i = 0u; i < 8; i++) {
          var v = vec4f(x[begin + i]) * used;
          if (HAS_NORM) {
            values[SUMS + r] += dot(v, v);
            v *= vec4f(norm[g * 8 + i]);
          }
          sums.x += dot(v, numbers(gate, i));
          if (BLOCKS == 2) { sums.y += dot(v, numbers(up, i)); }
          if (FORMAT == 1) { sums.z += dot(v, vec4f(1)); }
        }
        values[r * BLOCKS] += dot(gate.scale, sums.xz);
        if (BLOCKS == 2) { values[r * BLOCKS + BLOCKS - 1] += dot(up.scale, sums.yz); }
      }
    }
  }
  return values;
}

fn swiglu(gate: f32, up: f32) -> f32 {
  let e = exp(-abs(gate));
  return up * gate * select(e, 1.0, gate >= 0.0) / (1.0 + e);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_size) size: u32) {
  let blocks = (params.outputs + 7) / 8 / BLOCKS;
  let part = group.y * groups.x + group.x;
  // Workgroups that read the same codes for other rows are neighbours.
  let row_blocks = (params.rows + ROWS - 1) / ROWS;
  let first = part / row_blocks * (WORKGROUP_SIZE / TEAM);
  if (first >= blocks) { return; }
  let lane = thread % TEAM;
  let block = first + thread / TEAM;
  let own = min(block, blocks - 1);
  let row = part % row_blocks * ROWS + lane / 8;
  let o = params.first + block * 8 + lane % 8;
  let writes = lane < ROWS * 8 && row < params.rows && block < blocks && block * 8 + lane % 8 < params.outputs;
  let to = row * params.stride + o;
  var added = 0.0;  // on its way beside the codes
  if (writes && HAS_BIAS) { added += f32(bias[o]); }
  if (writes && HAS_RESIDUAL) { added += f32(residual[to]); }
  var values = share(part % row_blocks * ROWS, vec2u(own, own + blocks), lane / 8, lane % 8);

  let together = min(TEAM, size);  // threads whose shares shuffles add up
  for (var m = 8u; m < together; m *= 2) {
    for (var v = 0u; v < VALUES; v++) { values[v] += subgroupShuffleXor(values[v], m); }
  }
  if (lane % together < 8) {
    for (var v = 0u; v < VALUES; v++) { partial[(thread / together * 8 + lane % 8) * VALUES + v] = values[v]; }
  }
  workgroupBarrier();
  if (!writes) { return; }
  var sums: vec3f;  // the output's, or gate and up; Σ x²
  for (var p = (thread - lane) / together; p < (thread - lane + TEAM) / together; p++) {
    let at = (p * 8 + lane % 8) * VALUES;
    let gate = at + lane / 8 * BLOCKS;
    sums += vec3f(partial[gate], partial[gate + BLOCKS - 1], partial[at + SUMS + lane / 8]);
  }
  if (HAS_NORM) { sums *= inverseSqrt(sums.z / f32(params.inputs) + params.eps); }
  if (BLOCKS == 2) { sums.x = swiglu(sums.x, sums.y); }
  y[to] = y_t(sums.x + added);
}
