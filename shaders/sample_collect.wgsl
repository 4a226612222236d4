// candidates[r] = { v : bin(max_u x[r, u] - x[r, v]) is one in which a filter cuts }, in no particular order
//
// What lies in other bins is decided already. With WHOLE_TOP, everything down to the bin in which top-k cuts.

override WHOLE_TOP: bool = false;

const WORKGROUP_SIZE = 256u;
const STATE = 2312u;
const BINS = 768u;
const FIRST_BIN = 3680u;
const EXCLUDED = -3e38;

struct Params {
  columns: u32,  // V
  chunk: u32,    // elements of a workgroup
  groups: u32,   // G
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;                       // [R, V]
@group(0) @binding(1) var<storage, read> maxima: array<vec2u>;                // [R, G]
@group(0) @binding(2) var<storage, read_write> state: array<atomic<u32>>;     // [R, STATE]: at 2304 the number of candidates
@group(0) @binding(3) var<storage, read_write> candidates: array<u32>;        // [R, V]
@group(1) @binding(0) var<uniform> params: Params;

fn highest(row: u32) -> f32 {
  var value = EXCLUDED;
  for (var g = 0u; g < params.groups; g++) { value = max(value, bitcast<f32>(maxima[row * params.groups + g].x)); }
  return value;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  let top = highest(row);
  let base = row * STATE + 2304;
  let k = atomicLoad(&state[base + 1]);
  let p_from = atomicLoad(&state[base + 2]);
  let p_to = atomicLoad(&state[base + 3]);
  let end = min(params.columns, (group.x + 1) * params.chunk);
  for (var v = group.x * params.chunk + thread; v < end; v += WORKGROUP_SIZE) {
    let value = x[row * params.columns + v];
    if (value <= EXCLUDED) { continue; }
    let bin = clamp(bitcast<u32>(top - value) >> 18, FIRST_BIN, FIRST_BIN + BINS - 1) - FIRST_BIN;
    if (select(bin == k || (bin >= p_from && bin <= p_to), bin <= k, WHOLE_TOP)) {
      candidates[row * params.columns + atomicAdd(&state[base], 1u)] = v;
    }
  }
}
