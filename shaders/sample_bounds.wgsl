// state[r, b] = Σ_{c ≤ b} state[r, c]; cut by top-k: first b with count ≥ k; by top-p: first b with mass ≥ p · mass of the top k
//
// One workgroup per row sums the histogram from the best token downwards, in place, and finds the bins in which the filters
// cut. The mass of the top k is known only up to the bin of the cut, so top-p may cut in any bin from `from` to `to`.

override HAS_K: bool = false;
override HAS_P: bool = false;

const WORKGROUP_SIZE = 256u;
const STATE = 2312u;
const BINS = 768u;
const PER_THREAD = 3u;
const FIRST_BIN = 3680u;
const NONE = 0xffffffffu;

struct Params {
  inverse_temperature: f32,
  top_k: u32,
  top_p: f32,
}

@group(0) @binding(0) var<storage, read_write> state: array<u32>;  // [R, STATE]: counts, masses, …, at 2305: k's bin, from, to
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> counts: array<u32, WORKGROUP_SIZE>;
var<workgroup> masses: array<f32, WORKGROUP_SIZE>;
var<workgroup> cut: array<atomic<u32>, 3>;
var<workgroup> range: vec2f;

fn edge(bin: u32) -> f32 {
  return select(bitcast<f32>((bin + FIRST_BIN) << 18), 0.0, bin == 0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let base = group.y * STATE + thread * PER_THREAD;
  var count: array<u32, PER_THREAD>;
  var mass: array<f32, PER_THREAD>;
  var sums = vec2f();
  for (var i = 0u; i < PER_THREAD; i++) {
    let at = base + i;
    let fixed = f32(state[at + BINS]) * 16384.0 + f32(state[at + 2 * BINS]);
    count[i] = state[at] + select(0u, count[max(i, 1u) - 1], i > 0);
    mass[i] = fixed / 134217728.0 * exp(-edge(thread * PER_THREAD + i) * params.inverse_temperature);
    mass[i] += select(0.0, mass[max(i, 1u) - 1], i > 0);
  }
  counts[thread] = count[PER_THREAD - 1];
  masses[thread] = mass[PER_THREAD - 1];
  if (thread < 3) { atomicStore(&cut[thread], NONE); }
  workgroupBarrier();
  for (var reach = 1u; reach < WORKGROUP_SIZE; reach *= 2) {
    var before = 0u;
    var lighter = 0.0;
    if (thread >= reach) {
      before = counts[thread - reach];
      lighter = masses[thread - reach];
    }
    workgroupBarrier();
    counts[thread] += before;
    masses[thread] += lighter;
    workgroupBarrier();
  }
  let above = select(0u, counts[max(thread, 1u) - 1], thread > 0);
  let heavier = select(0.0, masses[max(thread, 1u) - 1], thread > 0);
  let total = counts[WORKGROUP_SIZE - 1];
  for (var i = 0u; i < PER_THREAD; i++) {
    count[i] += above;
    mass[i] += heavier;
    state[base + i] = count[i];
    state[base + i + BINS] = bitcast<u32>(mass[i]);
    if (HAS_K && params.top_k < total && count[i] >= params.top_k) { atomicMin(&cut[0], thread * PER_THREAD + i); }
  }
  if (thread == WORKGROUP_SIZE - 1) { range = vec2f(masses[thread]); }
  workgroupBarrier();
  let k = atomicLoad(&cut[0]);
  if (k / PER_THREAD == thread) {
    let i = k % PER_THREAD;
    range = vec2f(select(heavier, mass[max(i, 1u) - 1], i > 0), mass[i]);
  }
  workgroupBarrier();
  let target_mass = range * params.top_p;
  for (var i = 0u; i < PER_THREAD; i++) {
    if (mass[i] >= target_mass.x) { atomicMin(&cut[1], thread * PER_THREAD + i); }
    if (mass[i] >= target_mass.y) { atomicMin(&cut[2], thread * PER_THREAD + i); }
  }
  workgroupBarrier();
  if (thread < 3) {
    let last = min(k, BINS - 1);
    let bin = min(atomicLoad(&cut[thread]), last);
    state[group.y * STATE + 2305 + thread] = select(k, bin, HAS_P && thread > 0);
  }
}
