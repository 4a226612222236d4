// y[b, c] = mean over the pixels p of x[b, p, c]
//
// One thread per channel; neighbouring threads read neighbouring channels of the same pixel.

struct Params {
  images: u32,    // B
  pixels: u32,    // P = H·W
  channels: u32,  // C
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;        // [B, P, C]
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;  // [B, C]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * 64 + thread;
  if (index >= params.images * params.channels) { return; }
  let start = index / params.channels * params.pixels * params.channels + index % params.channels;

  var sum = 0.0;
  for (var p = 0u; p < params.pixels; p++) { sum += f32(x[start + p * params.channels]); }
  y[index] = y_t(sum / f32(params.pixels));
}
