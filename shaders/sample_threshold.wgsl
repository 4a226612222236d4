// threshold[r] = max(k-th largest of x[r], largest t with Σ_{x[r, v] ≥ t} exp(x[r, v] / temperature) ≥ p · that sum over the top k)
//
// One workgroup per row, radix selection over the candidates: four rounds of 256 digits of the order-preserving key of a float.
// Equal elements are kept or dropped together. Sums are in fixed point, exact whatever the order of the candidates.

override HAS_P: bool = false;

const WORKGROUP_SIZE = 256u;
const STATE = 2312u;
const BINS = 768u;
const FIRST_BIN = 3680u;
const EXCLUDED = -3e38;
const NONE = 0xffffffffu;

struct Params {
  columns: u32,  // V
  groups: u32,   // G
  inverse_temperature: f32,
  top_k: u32,
  top_p: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;               // [R, V]
@group(0) @binding(1) var<storage, read> maxima: array<vec2u>;        // [R, G]
@group(0) @binding(2) var<storage, read> candidates: array<u32>;      // [R, V]
@group(0) @binding(3) var<storage, read_write> state: array<u32>;     // [R, STATE]: at 2308 the threshold's key
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> counts: array<atomic<u32>, WORKGROUP_SIZE>;
var<workgroup> high: array<atomic<u32>, WORKGROUP_SIZE>;
var<workgroup> low: array<atomic<u32>, WORKGROUP_SIZE>;
var<workgroup> sums: array<vec3u, WORKGROUP_SIZE>;
var<workgroup> digit: atomic<u32>;
var<workgroup> shared_bin: u32;

struct Cut {
  key: u32,
  mass: f32,  // of the elements of the bin from the key upwards, relative to the bin's upper end
}

fn edge(bin: u32) -> f32 {
  return select(bitcast<f32>((bin + FIRST_BIN) << 18), 0.0, bin == 0);
}

fn bin_mass(sum: vec3u) -> f32 { return (f32(sum.y) * 16384.0 + f32(sum.z)) / 134217728.0; }

/// The largest key in a bin such that the elements from it upwards reach `goal` in number or in mass; the smallest if none does.
fn cut_bin(row: u32, thread: u32, bin: u32, goal: f32, by_mass: bool, top: f32) -> Cut {
  var prefix = 0u;
  var above = vec3u();
  for (var shift = 24u; shift < 32; shift -= 8) {
    atomicStore(&counts[thread], 0u);
    atomicStore(&high[thread], 0u);
    atomicStore(&low[thread], 0u);
    if (thread == 0) { atomicStore(&digit, 0u); }
    workgroupBarrier();
    for (var i = thread; i < state[row * STATE + 2304]; i += WORKGROUP_SIZE) {
      let value = x[row * params.columns + candidates[row * params.columns + i]];
      let distance = top - value;
      if (clamp(bitcast<u32>(distance) >> 18, FIRST_BIN, FIRST_BIN + BINS - 1) - FIRST_BIN != bin) { continue; }
      let bits = bitcast<u32>(value);
      let key = bits ^ select(0x80000000u, NONE, (bits >> 31) == 1);
      if (shift < 24 && (key >> (shift + 8)) != prefix) { continue; }
      let mass = u32(exp(max((edge(bin) - distance) * params.inverse_temperature, -80.0)) * 134217728.0 + 0.5);
      let d = (key >> shift) & 255;
      atomicAdd(&counts[d], 1u);
      atomicAdd(&high[d], mass >> 14);
      atomicAdd(&low[d], mass & 0x3fff);
    }
    workgroupBarrier();
    sums[thread] = vec3u(atomicLoad(&counts[thread]), atomicLoad(&high[thread]), atomicLoad(&low[thread]));
    workgroupBarrier();
    for (var reach = 1u; reach < WORKGROUP_SIZE; reach *= 2) {
      var more = vec3u();
      if (thread + reach < WORKGROUP_SIZE) { more = sums[thread + reach]; }
      workgroupBarrier();
      sums[thread] += more;
      workgroupBarrier();
    }
    let reached = select(f32(above.x + sums[thread].x), bin_mass(above + sums[thread]), by_mass);
    let all = select(f32(above.x + sums[0].x), bin_mass(above + sums[0]), by_mass);
    if (reached >= min(goal, all) && atomicLoad(&counts[thread]) > 0) { atomicMax(&digit, thread); }
    workgroupBarrier();
    let chosen = atomicLoad(&digit);
    prefix = (prefix << 8) | chosen;
    if (shift > 0 && chosen < 255) { above += sums[chosen + 1]; }
    if (shift == 0) { above += sums[chosen]; }
    workgroupBarrier();
  }
  return Cut(prefix, bin_mass(above));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  let base = row * STATE;
  var top = EXCLUDED;
  for (var g = 0u; g < params.groups; g++) { top = max(top, bitcast<f32>(maxima[row * params.groups + g].x)); }
  var key = 0u;
  var total = bitcast<f32>(state[base + 2 * BINS - 1]);
  if (thread == 0) { shared_bin = state[base + 2305]; }
  let k = workgroupUniformLoad(&shared_bin);
  if (k != NONE) {
    let above = select(0u, state[base + max(k, 1u) - 1], k > 0);
    let heavier = select(0.0, bitcast<f32>(state[base + BINS + max(k, 1u) - 1]), k > 0);
    let cut = cut_bin(row, thread, k, f32(params.top_k - above), false, top);
    key = cut.key;
    total = heavier + cut.mass * exp(-edge(k) * params.inverse_temperature);
  }
  if (HAS_P) {
    let goal = total * params.top_p;
    if (thread == 0) {
      var p = state[base + 2306];
      while (p < state[base + 2307] && bitcast<f32>(state[base + BINS + p]) < goal) { p++; }
      shared_bin = p;
    }
    let p = workgroupUniformLoad(&shared_bin);
    let heavier = select(0.0, bitcast<f32>(state[base + BINS + max(p, 1u) - 1]), p > 0);
    key = max(key, cut_bin(row, thread, p, (goal - heavier) * exp(min(edge(p) * params.inverse_temperature, 80.0)), true, top).key);
  }
  if (thread == 0) { state[base + 2308] = key; }
}
