// y[r, o] = residual[r, o] + bias[o] + Σ_c n[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32]), n = x or its RMS norm
//
// Few rows (decoding) on GPUs with subgroups of any size. A team of TEAM threads computes BLOCKS blocks of 8 outputs of ROWS rows: a
// thread is an output of every block, and each further 8 threads take the next group of inputs. Codes of UNROLL groups are loaded
// before any is used: memory is what decoding waits for. Sums meet by shuffles, then in workgroup memory. The norm takes no pass of
// its own: Σ x² is added up beside the products and divides them in the end.

override WORKGROUP_SIZE: u32 = 128;
override TEAM: u32 = 64;  // a power of two, at most WORKGROUP_SIZE and at least a thread per result
override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_NORM: bool = false;
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;
override SWIGLU: bool = false;  // y[r, o] = sum[r, o + O/2] · silu(sum[r, o]): gates, then ups

struct Params {
  rows: u32, inputs: u32,     // R, C
  outputs: u32, first: u32,   // outputs of this part of the weight, and the index of the first
  stride: u32,                // columns of y
  groups: u32,                // G, groups of 32 inputs, padded to an even number
  eps: f32,                   // of the norm
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

const SUMS = ROWS * BLOCKS;
const VALUES = SUMS + ROWS;  // the sums, then Σ x² of each row
const MAGIC = 0x4b000000u;   // 2²³ as a float, whose last bits count from it: codes become numbers without a conversion
const ONE = 8388608.0;

var<workgroup> partial: array<f32, WORKGROUP_SIZE * VALUES>;

fn load(block: u32, g: u32, lane: u32) -> Packed {
  let at = block * params.groups + g;
  if (FORMAT == 1) { return Packed(codes[at * 8 + lane], vec4u(), unpack2x16float(scales[at * 8 + lane])); }
  let pair = unpack2x16float(scales[at / 2 * 8 + lane]);
  let scale = vec2f(select(pair.x, pair.y, g % 2 == 1), 0.0);
  if (FORMAT == 0) { return Packed(codes[at * 8 + lane], vec4u(), scale); }
  return Packed(codes[at * 16 + lane], codes[at * 16 + 8 + lane], scale);
}

// Four codes of 8 (i = 0 … 7) as numbers, each a power of two larger by its place in the word; `places` takes that back.
fn numbers(w: Packed, i: u32) -> vec4f {
  if (FORMAT == 2) {
    let word = select(w.a[i % 4], w.b[i % 4], i > 3) ^ 0x80808080;
    let bits = (vec4u(word, word, word >> 16, word >> 16) & vec4u(0xff, 0xff00, 0xff, 0xff00)) | vec4u(MAGIC);
    return bitcast<vec4f>(bits) - vec4f(ONE + 128, ONE + 32768, ONE + 128, ONE + 32768);
  }
  let bits = (vec4u(w.a[i / 2] >> (i % 2 * 16)) & vec4u(0xf, 0xf0, 0xf00, 0xf000)) | vec4u(MAGIC);
  // Without offset they count from 8.
  return bitcast<vec4f>(bits) - select(vec4f(ONE + 8, ONE + 128, ONE + 2048, ONE + 32768), vec4f(ONE), FORMAT == 1);
}

fn places() -> vec4f {
  return select(vec4f(1, 0.0625, 0.00390625, 0.000244140625), vec4f(1, 0.00390625, 1, 0.00390625), FORMAT == 2);
}

// Block b of a team; with SWIGLU gates and ups take turns.
fn block_of(team: u32, b: u32) -> u32 {
  let blocks = (params.outputs + 7) / 8;
  if (!SWIGLU) { return min(team * BLOCKS + b, blocks - 1); }
  return min((team * BLOCKS + b) / 2, blocks / 2 - 1) + b % 2 * (blocks / 2);
}

// This thread's share of the sums of a team, whose rows of x begin at `row`.
fn share(row: u32, team: u32, slot: u32, lane: u32) -> array<f32, VALUES> {
  let count = params.inputs / 32;
  var values: array<f32, VALUES>;
  for (var first = slot; first < count; first += TEAM / 8 * UNROLL) {
    var w: array<Packed, UNROLL * BLOCKS>;
    for (var u = 0u; u < UNROLL * BLOCKS; u++) {
      w[u] = load(block_of(team, u % BLOCKS), min(first + u / BLOCKS * (TEAM / 8), count - 1), lane);
    }
    for (var u = 0u; u < UNROLL; u++) {
      let g = min(first + u * (TEAM / 8), count - 1);
      let used = select(0.0, 1.0, first + u * (TEAM / 8) < count);
      var sums = array<f32, SUMS>(); var inputs = array<f32, ROWS>();  // of products, and of the inputs
      for (var i = 0u; i < 8; i++) {
        var n: array<vec4f, BLOCKS>;
        for (var b = 0u; b < BLOCKS; b++) { n[b] = numbers(w[u * BLOCKS + b], i); }
        for (var r = 0u; r < ROWS; r++) {
          var v = vec4f(x[(min(row + r, params.rows - 1) * count + g) * 8 + i]) * used;
          if (HAS_NORM) { values[SUMS + r] += dot(v, v); v *= vec4f(norm[g * 8 + i]); }
          if (FORMAT == 1) { inputs[r] += dot(v, vec4f(1)); }
          for (var b = 0u; b < BLOCKS; b++) { sums[r * BLOCKS + b] += dot(v * places(), n[b]); }
        }
      }
      for (var s = 0u; s < SUMS; s++) { values[s] += dot(w[u * BLOCKS + s % BLOCKS].scale, vec2f(sums[s], inputs[s / BLOCKS])); }
    }
  }
  return values;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_size) size: u32) {
  let step = select(1u, 2u, SWIGLU);
  let results = BLOCKS / step;  // blocks of y of a team
  let blocks = (params.outputs + 7) / 8 / step;
  let part = group.y * groups.x + group.x;  // workgroups that read the same codes for other rows are neighbours
  let row_blocks = (params.rows + ROWS - 1) / ROWS;
  let first_team = part / row_blocks * (WORKGROUP_SIZE / TEAM);
  if (first_team * results >= blocks) { return; }
  let team = first_team + thread / TEAM; let lane = thread % TEAM;
  let r = lane / (8 * results); let b = lane / 8 % results; let row = part % row_blocks * ROWS + r;  // what it writes, if it does
  let column = (team * results + b) * 8 + lane % 8;
  let writes = r < ROWS && row < params.rows && team * results + b < blocks && column < params.outputs;
  let o = params.first + column; let to = row * params.stride + o;
  var added = 0.0;  // on its way beside the codes
  if (writes && HAS_BIAS) { added += f32(bias[o]); }
  if (writes && HAS_RESIDUAL) { added += f32(residual[to]); }
  var values = share(part % row_blocks * ROWS, team, lane / 8, lane % 8);

  let together = min(TEAM, size);  // threads whose shares shuffles add up
  for (var m = 8u; m < together; m *= 2) { for (var v = 0u; v < VALUES; v++) { values[v] += subgroupShuffleXor(values[v], m); } }
  let own = (thread / together * 8 + lane % 8) * VALUES;
  for (var v = 0u; v < VALUES && lane % together < 8; v++) { partial[own + v] = values[v]; }
  workgroupBarrier();
  if (!writes) { return; }
  var sums: vec3f;  // the output's, or gate and up; Σ x²
  for (var p = (thread - lane) / together; p < (thread - lane + TEAM) / together; p++) {
    let at = (p * 8 + lane % 8) * VALUES;
    let gate = at + r * BLOCKS + b * step;
    sums += vec3f(partial[gate], partial[gate + step - 1], partial[at + SUMS + r]);
  }
  if (HAS_NORM) { sums *= inverseSqrt(sums.z / f32(params.inputs) + params.eps); }
  let e = exp(-abs(sums.x));  // of silu, without overflow
  if (SWIGLU) { sums.x *= sums.y * select(e, 1.0, sums.x >= 0.0) / (1.0 + e); }
  y[to] = y_t(sums.x + added);
}
