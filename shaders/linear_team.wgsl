// y[r, o] = residual[r, o] + bias[o] + Σ_c n[r, c] · weight[o, c], where n is x, or its root-mean-square norm
//
// Few rows (decoding) on GPUs with subgroups of any size. A team of TEAM threads computes OUTPUTS outputs of ROWS rows, and reads
// their weights once. Its threads take turns at vectors of 8 inputs, UNROLL at a time, whose weights are all loaded before any is
// used: memory is what decoding waits for. Sums meet by shuffles, then in workgroup memory. The norm takes no pass of its own:
// Σ x² is added up beside the products and divides them in the end. C must be a multiple of 8.

override WORKGROUP_SIZE: u32 = 128;
override TEAM: u32 = 32;  // a power of two, at most WORKGROUP_SIZE and at least ROWS · OUTPUTS
override WEIGHT_F16: bool = false;
override HAS_NORM: bool = false;
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;
override SWIGLU: bool = false;  // y[r, o] = sum[r, o + O/2] · silu(sum[r, o]): gates, then as many ups

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // columns of y
  eps: f32,      // of the norm
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;          // [R, C]
@group(0) @binding(1) var<storage, read> norm: array<vec4<norm_t>>;    // [C]
@group(0) @binding(2) var<storage, read> weight: array<vec4u>;         // [O, C] of weight_t
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

struct Packed { a: vec4u, b: vec4u }  // 8 weights; halves are all in a

const SUMS = ROWS * OUTPUTS;
const VALUES = SUMS + ROWS;  // the sums, then Σ x² of each row

var<workgroup> partial: array<f32, WORKGROUP_SIZE / 8 * VALUES>;

fn load(at: u32) -> Packed {
  if (WEIGHT_F16) { return Packed(weight[at], vec4u()); }
  return Packed(weight[2 * at], weight[2 * at + 1]);
}

fn product(a: vec4f, b: vec4f, w: Packed) -> f32 {
  if (!WEIGHT_F16) { return dot(a, bitcast<vec4f>(w.a)) + dot(b, bitcast<vec4f>(w.b)); }
  let low = vec4f(unpack2x16float(w.a.x), unpack2x16float(w.a.y));
  return dot(a, low) + dot(b, vec4f(unpack2x16float(w.a.z), unpack2x16float(w.a.w)));
}

// The row of the weight that output j of a team needs; with SWIGLU gates and ups take turns.
fn weight_row(team: u32, j: u32) -> u32 {
  if (!SWIGLU) { return min(team * OUTPUTS + j, params.outputs - 1); }
  let gates = params.outputs / 2;
  return min((team * OUTPUTS + j) / 2, gates - 1) + j % 2 * gates;
}

// This thread's share of the sums of a team, whose rows of x begin at `row`.
fn share(row: u32, team: u32, lane: u32) -> array<f32, VALUES> {
  let width = params.inputs / 8;
  var values: array<f32, VALUES>;
  for (var c = lane; c < width; c += TEAM * UNROLL) {
    var w: array<Packed, UNROLL * OUTPUTS>;
    for (var i = 0u; i < UNROLL * OUTPUTS; i++) {
      w[i] = load(weight_row(team, i % OUTPUTS) * width + min(c + i / OUTPUTS * TEAM, width - 1));
    }
    for (var i = 0u; i < UNROLL; i++) {
      let at = 2 * min(c + i * TEAM, width - 1);
      let used = select(0.0, 1.0, c + i * TEAM < width);
      for (var r = 0u; r < ROWS; r++) {
        let begin = 2 * width * min(row + r, params.rows - 1) + at;
        var a = vec4f(x[begin]) * used;
        var b = vec4f(x[begin + 1]) * used;
        if (HAS_NORM) {
          values[SUMS + r] += dot(a, a) + dot(b, b);
          a *= vec4f(norm[at]);
          b *= vec4f(norm[at + 1]);
        }
        for (var j = 0u; j < OUTPUTS; j++) { values[r * OUTPUTS + j] += product(a, b, w[i * OUTPUTS + j]); }
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
  let results = OUTPUTS / select(1u, 2u, SWIGLU);  // of a team and row
  let columns = params.outputs / select(1u, 2u, SWIGLU);
  let teams = WORKGROUP_SIZE / TEAM;
  let part = group.y * groups.x + group.x;
  // Workgroups that read the same weights for other rows are neighbours.
  let row_blocks = (params.rows + ROWS - 1) / ROWS;
  let first_team = part / row_blocks * teams;
  if (first_team * results >= columns) { return; }
  let team = first_team + thread / TEAM;
  let lane = thread % TEAM;
  let row = part % row_blocks * ROWS + lane / results;
  let column = team * results + lane % results;
  let writes = lane < ROWS * results && row < params.rows && column < columns;
  let o = params.first + column;
  let to = row * params.stride + o;
  var added = 0.0;  // on its way beside the weights
  if (writes && HAS_BIAS) { added += f32(bias[o]); }
  if (writes && HAS_RESIDUAL) { added += f32(residual[to]); }
  var values = share(part % row_blocks * ROWS, team, lane);

  let together = min(TEAM, size);  // threads whose shares shuffles add up
  for (var m = 1u; m < together; m *= 2) {
    for (var v = 0u; v < VALUES; v++) { values[v] += subgroupShuffleXor(values[v], m); }
  }
  if (lane % together == 0) {
    for (var v = 0u; v < VALUES; v++) { partial[thread / together * VALUES + v] = values[v]; }
  }
  workgroupBarrier();
  if (!writes) { return; }
  let step = select(1u, 2u, SWIGLU);
  var sums: vec3f;  // the output's, or gate and up; Σ x²
  for (var p = (thread - lane) / together; p < (thread - lane + TEAM) / together; p++) {
    let at = p * VALUES + lane * step;
    sums += vec3f(partial[at], partial[at + step - 1], partial[p * VALUES + SUMS + lane / results]);
  }
  if (HAS_NORM) { sums *= inverseSqrt(sums.z / f32(params.inputs) + params.eps); }
  if (SWIGLU) { sums.x = swiglu(sums.x, sums.y); }
  y[to] = y_t(sums.x + added);
}
