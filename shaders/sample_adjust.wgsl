// x[r, v] = penalise(logits[r, v] + bias[v], seen[r, v]) where v < vocabulary and the mask allows v, else EXCLUDED
//
// The first pass of a choice: the logits as bias, penalties and mask leave them. Each workgroup takes a chunk of a row, and
// writes its largest element and that element's id (the lowest on ties) to `maxima`. Also clears the row's `state`.
// NaN and -inf become HOPELESS: less than any other, more than what is excluded. No value here is infinite.

override WORKGROUP_SIZE: u32 = 256;
override HAS_BIAS: bool = false;
override HAS_SEEN: bool = false;
override HAS_MASK: bool = false;

const STATE = 2312u;         // words of state in a row
const LARGEST = 1e38;
const HOPELESS = -2e38;
const EXCLUDED = -3e38;
const NONE = 0xffffffffu;

struct Params {
  columns: u32,      // V
  vocabulary: u32,   // ids from here on are excluded
  chunk: u32,        // elements of a workgroup
  repetition: f32,   // divides positive, multiplies negative logits of tokens seen
  frequency: f32,    // subtracted for each time a token was chosen
  presence: f32,     // subtracted once from tokens that were chosen
}

@group(0) @binding(0) var<storage, read> logits: array<logits_t>;      // [R, V]
@group(0) @binding(1) var<storage, read> bias: array<bias_t>;          // [V]
@group(0) @binding(2) var<storage, read> seen: array<u32>;             // [R, V]: times chosen; the top bit: in the prompt
@group(0) @binding(3) var<storage, read> mask: array<u32>;             // [V / 32]: bit v % 32 of word v / 32
@group(0) @binding(4) var<storage, read_write> x: array<x_t>;          // [R, V]
@group(0) @binding(5) var<storage, read_write> maxima: array<vec2u>;   // [R, G]: bits of the element, id
@group(0) @binding(6) var<storage, read_write> state: array<u32>;      // [R, STATE]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> best: array<f32, WORKGROUP_SIZE>;
var<workgroup> place: array<u32, WORKGROUP_SIZE>;

fn adjusted(row: u32, v: u32) -> f32 {
  if (v >= params.vocabulary) { return EXCLUDED; }
  if (HAS_MASK) {
    if (((mask[v / 32] >> (v % 32)) & 1) == 0) { return EXCLUDED; }
  }
  let logit = logits[row * params.columns + v];
  let bits = bitcast<u32>(logit);
  if ((bits & 0x7f800000) == 0x7f800000 && bits != 0x7f800000) { return HOPELESS; }
  var value = select(clamp(logit, -LARGEST, LARGEST), LARGEST, bits == 0x7f800000);
  if (HAS_BIAS) {
    if (bias[v] <= -LARGEST) { return HOPELESS; }
    value += bias[v];
  }
  if (HAS_SEEN) {
    let times = seen[row * params.columns + v];
    if (times != 0) { value = select(value * params.repetition, value / params.repetition, value > 0); }
    let chosen = times & 0x7fffffff;
    value -= params.frequency * f32(chosen) + select(0.0, params.presence, chosen > 0);
  }
  return select(clamp(value, -LARGEST, LARGEST), 0.0, value == 0);  // one zero, so that ties have one key
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  var highest = EXCLUDED;
  var at = NONE;
  let end = min(params.columns, (group.x + 1) * params.chunk);
  for (var v = group.x * params.chunk + thread; v < end; v += WORKGROUP_SIZE) {
    let value = adjusted(row, v);
    x[row * params.columns + v] = value;
    if (value > highest) {
      highest = value;
      at = v;
    }
  }
  for (var i = group.x * WORKGROUP_SIZE + thread; i < STATE; i += groups.x * WORKGROUP_SIZE) { state[row * STATE + i] = 0; }
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
  if (thread == 0) { maxima[row * groups.x + group.x] = vec2u(bitcast<u32>(best[0]), place[0]); }
}
