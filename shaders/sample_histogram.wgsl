// state[r, bin(d)] += (1, exp(-d / temperature)) for every d = max_u x[r, u] - x[r, v]
//
// How many tokens, and how much probability (not yet normalised), lie how far below the best: 768 bins of relative width
// 1/32 from 2^-12 to 2^12; the outermost take the rest. A probability is counted in fixed point relative to the upper end of
// its bin, split into two words such that 2^18 tokens fit; so the sums do not depend on the order of threads.

override HAS_MASS: bool = true;

const WORKGROUP_SIZE = 256u;
const STATE = 2312u;
const BINS = 768u;
const FIRST_BIN = 3680u;  // bits of 2^-12, without the lower 18
const EXCLUDED = -3e38;

struct Params {
  columns: u32,              // V
  chunk: u32,                // elements of a workgroup
  groups: u32,               // G
  inverse_temperature: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;                      // [R, V]
@group(0) @binding(1) var<storage, read> maxima: array<vec2u>;               // [R, G]
@group(0) @binding(2) var<storage, read_write> state: array<atomic<u32>>;    // [R, STATE]: counts, masses / 2^14, masses % 2^14, …
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> counts: array<atomic<u32>, BINS>;
var<workgroup> high: array<atomic<u32>, BINS>;
var<workgroup> low: array<atomic<u32>, BINS>;

fn highest(row: u32) -> f32 {
  var value = EXCLUDED;
  for (var g = 0u; g < params.groups; g++) { value = max(value, bitcast<f32>(maxima[row * params.groups + g].x)); }
  return value;
}

/// The distance at which a bin begins.
fn edge(bin: u32) -> f32 {
  return select(bitcast<f32>((bin + FIRST_BIN) << 18), 0.0, bin == 0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  let top = highest(row);
  let end = min(params.columns, (group.x + 1) * params.chunk);
  for (var v = group.x * params.chunk + thread; v < end; v += WORKGROUP_SIZE) {
    let value = x[row * params.columns + v];
    if (value <= EXCLUDED) { continue; }
    let distance = top - value;
    let bin = clamp(bitcast<u32>(distance) >> 18, FIRST_BIN, FIRST_BIN + BINS - 1) - FIRST_BIN;
    atomicAdd(&counts[bin], 1u);
    if (HAS_MASS) {
      let mass = u32(exp(max((edge(bin) - distance) * params.inverse_temperature, -80.0)) * 134217728.0 + 0.5);
      atomicAdd(&high[bin], mass >> 14);
      atomicAdd(&low[bin], mass & 0x3fff);
    }
  }
  workgroupBarrier();
  for (var bin = thread; bin < BINS; bin += WORKGROUP_SIZE) {
    let count = atomicLoad(&counts[bin]);
    if (count == 0) { continue; }
    let at = row * STATE + bin;
    atomicAdd(&state[at], count);
    if (HAS_MASS) {
      atomicAdd(&state[at + BINS], atomicLoad(&high[bin]));
      atomicAdd(&state[at + 2 * BINS], atomicLoad(&low[bin]));
    }
  }
}
