// s = max |x| / 127 over 32 inputs, codes = round(x / s), scales = (s, s · Σ codes)
//
// Inputs as bytes, for packed dot products with weights of a few bits. The groups of all rows lie one after another; four threads
// share one, with eight inputs each. The sum is what an offset of the weights is multiplied with.

override WORKGROUP_SIZE: u32 = 64;
override EVEN_ODD: bool = false;  // of 8 inputs, 0 2 4 6 in one word and 1 3 5 7 in the next: codes of 4 bits come apart like this

struct Params {
  groups: u32,  // N = R · C/32
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;            // [N, 32]
@group(0) @binding(1) var<storage, read_write> codes: array<vec2u>;      // [N, 8] words of four
@group(0) @binding(2) var<storage, read_write> scales: array<vec2f>;     // [N]
@group(1) @binding(0) var<uniform> params: Params;

const LEAST = 1e-30;  // less counts as zero: its inverse would overflow

var<workgroup> largest: array<f32, WORKGROUP_SIZE>;
var<workgroup> sums: array<i32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let eight = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  let is_within = eight < params.groups * 4;
  let own = min(eight, params.groups * 4 - 1);
  let a = vec4f(x[own * 2]);
  let b = vec4f(x[own * 2 + 1]);
  let most = max(abs(a), abs(b));
  largest[thread] = max(max(most.x, most.y), max(most.z, most.w));
  workgroupBarrier();
  let first = thread / 4 * 4;
  let all = max(max(largest[first], largest[first + 1]), max(largest[first + 2], largest[first + 3]));
  let is_zero = all < LEAST;
  let inverse = select(127 / max(all, LEAST), 0.0, is_zero);
  let low = vec4i(round(a * inverse));
  let high = vec4i(round(b * inverse));
  let pair = vec2u(
    pack4xI8(select(low, vec4i(low.xz, high.xz), EVEN_ODD)),
    pack4xI8(select(high, vec4i(low.yw, high.yw), EVEN_ODD)),
  );
  sums[thread] = dot4I8Packed(pair.x, 0x01010101) + dot4I8Packed(pair.y, 0x01010101);
  if (is_within) { codes[own] = pair; }
  workgroupBarrier();
  if (is_within && thread % 4 == 0) {
    let s = select(all * (1.0 / 127), 0.0, is_zero);
    scales[own / 4] = vec2f(s, s * f32(sums[first] + sums[first + 1] + sums[first + 2] + sums[first + 3]));
  }
}
