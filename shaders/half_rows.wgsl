// factor[r] = 2^(⌊log2 max_c |x[r, c]|⌋ − 14), y[r, c] = x[r, c] / factor[r] as f16
//
// A power of two brings the largest number of a row near the top of what f16 holds: nothing overflows, and numbers down to 2^-28 of
// it keep all their bits. One workgroup per row. C must be a multiple of 4.

override WORKGROUP_SIZE: u32 = 128;

struct Params {
  rows: u32,  // R
  dim: u32,   // C
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;        // [R, C]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<y_t>>;  // [R, C]
@group(0) @binding(2) var<storage, read_write> factor: array<f32>;   // [R]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> largest: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let width = params.dim / 4;
  var most = vec4f(0);
  for (var c = thread; c < width; c += WORKGROUP_SIZE) { most = max(most, abs(vec4f(x[row * width + c]))); }
  largest[thread] = max(max(most.x, most.y), max(most.z, most.w));
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) { largest[thread] = max(largest[thread], largest[thread + half]); }
    workgroupBarrier();
  }
  // The exponent as f32 stores it, which keeps both powers of two within its range.
  let exponent = clamp(bitcast<u32>(largest[0]) >> 23, 15u, 254u);
  let inverse = bitcast<f32>((268 - exponent) << 23);
  for (var c = thread; c < width; c += WORKGROUP_SIZE) { y[row * width + c] = vec4<y_t>(vec4f(x[row * width + c]) * inverse); }
  if (thread == 0) { factor[row] = bitcast<f32>((exponent - 14) << 23); }
}
