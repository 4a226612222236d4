// best[i, g] = argmax_v x[r, v] / temperature - log(E), E ~ Exp(1), over the chunk g and x[r, v] ≥ the filters' threshold
//
// The largest of such scores is a draw from softmax(x / temperature) over what the filters keep (the Gumbel-max trick), with
// no sum over the vocabulary and no order of additions. E is a function of seed, step and token (pcg4d, Jarzynski and Olano
// 2020), so a draw depends on nothing else. Draw i is from row i % R, at step + i.

override WORKGROUP_SIZE: u32 = 256;
override HAS_THRESHOLD: bool = false;

const STATE = 2312u;
const EXCLUDED = -3e38;
const NONE = 0xffffffffu;

struct Params {
  rows: u32,                 // R
  columns: u32,              // V
  chunk: u32,                // elements of a workgroup
  groups: u32,               // G
  inverse_temperature: f32,
  reach: f32,                // min-p: largest distance from the best
  step: u32,
  seed_low: u32,
  seed_high: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;              // [R, V]
@group(0) @binding(1) var<storage, read> maxima: array<vec2u>;       // [R, G]
@group(0) @binding(2) var<storage, read> state: array<u32>;          // [R, STATE]: at 2308 the threshold's key
@group(0) @binding(3) var<storage, read_write> best: array<vec2u>;   // [draws, G]: bits of the score, id
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> scores: array<f32, WORKGROUP_SIZE>;
var<workgroup> place: array<u32, WORKGROUP_SIZE>;

fn pcg4d(counter: vec4u) -> u32 {
  var v = counter * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4u(16);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return v.x;
}

/// -log(E) for an exponential variate E: fine steps where E is small, since there the largest scores are.
fn gumbel(bits: u32) -> f32 {
  let u = min((f32(bits) + 0.5) * 2.3283064e-10, 0.99999994);
  let series = u * (1.0 + u * (0.5 + u * (0.33333333 + u * (0.25 + u * 0.2))));
  return -log(select(-log(1.0 - u), series, u < 0.01));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y % params.rows;
  var top = EXCLUDED;
  for (var g = 0u; g < params.groups; g++) { top = max(top, bitcast<f32>(maxima[row * params.groups + g].x)); }
  var least = 0u;
  if (HAS_THRESHOLD) { least = state[row * STATE + 2308]; }
  var highest = EXCLUDED;
  var at = NONE;
  let end = min(params.columns, (group.x + 1) * params.chunk);
  for (var v = group.x * params.chunk + thread; v < end; v += WORKGROUP_SIZE) {
    let value = x[row * params.columns + v];
    let bits = bitcast<u32>(value);
    let key = bits ^ select(0x80000000u, NONE, (bits >> 31) == 1);
    if (value <= EXCLUDED || key < least || top - value > params.reach) { continue; }
    let log_weight = max((value - top) * params.inverse_temperature, -1e30);
    if (log_weight + 23.0 < highest) { continue; }  // no E is so small
    let score = log_weight + gumbel(pcg4d(vec4u(v, params.step + group.y, params.seed_low, params.seed_high)));
    if (score > highest) {
      highest = score;
      at = v;
    }
  }
  scores[thread] = highest;
  place[thread] = at;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) {
      let other = thread + half;
      if (scores[other] > scores[thread] || (scores[other] == scores[thread] && place[other] < place[thread])) {
        scores[thread] = scores[other];
        place[thread] = place[other];
      }
    }
    workgroupBarrier();
  }
  if (thread == 0) { best[group.y * groups.x + group.x] = vec2u(bitcast<u32>(scores[0]), place[0]); }
}
