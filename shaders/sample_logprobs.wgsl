// y[0, r] = log softmax(x[r]) at token[r] and at the n largest elements, best first; y[1, r] = their ids
//
// One workgroup per row: n times the best of the candidates after the one before, the lower id first on ties. Where there are
// fewer than n, ids are -1.

const WORKGROUP_SIZE = 256u;
const STATE = 2312u;
const BINS = 768u;
const EXCLUDED = -3e38;
const NONE = 0xffffffffu;

struct Params {
  rows: u32,     // R
  columns: u32,  // V
  groups: u32,   // G
  count: u32,    // n
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;               // [R, V]
@group(0) @binding(1) var<storage, read> maxima: array<vec2u>;        // [R, G]
@group(0) @binding(2) var<storage, read> state: array<u32>;           // [R, STATE]: at 1535 the whole mass, at 2304 the number of candidates
@group(0) @binding(3) var<storage, read> candidates: array<u32>;      // [R, V]
@group(0) @binding(4) var<storage, read> token: array<u32>;           // [R]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;         // [2, R, 1 + n]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> best: array<f32, WORKGROUP_SIZE>;
var<workgroup> place: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  var top = EXCLUDED;
  for (var g = 0u; g < params.groups; g++) { top = max(top, bitcast<f32>(maxima[row * params.groups + g].x)); }
  let log_sum = log(bitcast<f32>(state[row * STATE + 2 * BINS - 1]));
  let count = state[row * STATE + 2304];
  let to = row * (1 + params.count);
  let ids = params.rows * (1 + params.count) + to;
  if (thread == 0) {
    y[to] = x[row * params.columns + token[row]] - top - log_sum;
    y[ids] = f32(token[row]);
  }
  var bound = -EXCLUDED;
  var last = 0u;
  for (var n = 1u; n <= params.count; n++) {
    var highest = EXCLUDED;
    var at = NONE;
    for (var i = thread; i < count; i += WORKGROUP_SIZE) {
      let v = candidates[row * params.columns + i];
      let value = x[row * params.columns + v];
      let follows = value < bound || (value == bound && v > last);
      if (follows && (value > highest || (value == highest && v < at))) {
        highest = value;
        at = v;
      }
    }
    best[thread] = highest;
    place[thread] = at;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
      if (thread < half) {
        let other = thread + half;
        if (best[other] > best[thread] || (best[other] == best[thread] && place[other] < place[thread])) {
          best[thread] = best[other];
          place[thread] = place[other];
        }
      }
      workgroupBarrier();
    }
    bound = best[0];
    last = place[0];
    if (thread == 0) {
      y[to + n] = bound - top - log_sum;
      y[ids + n] = select(f32(last), -1.0, last == NONE);
    }
    workgroupBarrier();
  }
}
