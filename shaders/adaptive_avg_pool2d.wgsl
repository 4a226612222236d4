// y[b, i, j, c] = mean of x[b, r, s, c] over the rows r in [⌊i·H/h⌋, ⌈(i+1)·H/h⌉) and the columns s likewise
//
// One thread per output; neighbouring threads read neighbouring channels.

struct Params {
  size: u32,        // elements of y
  height: u32,      // H
  width: u32,       // W
  channels: u32,    // C
  out_height: u32,  // h
  out_width: u32,   // w
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;        // [B, H, W, C]
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;  // [B, h, w, C]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * 64 + thread;
  if (index >= params.size) { return; }
  let c = index % params.channels;
  let cell = index / params.channels;
  let j = cell % params.out_width;
  let i = cell / params.out_width % params.out_height;
  let image = cell / params.out_width / params.out_height * params.height;

  let top = i * params.height / params.out_height;
  let bottom = ((i + 1) * params.height + params.out_height - 1) / params.out_height;
  let left = j * params.width / params.out_width;
  let right = ((j + 1) * params.width + params.out_width - 1) / params.out_width;
  var sum = 0.0;
  for (var r = top; r < bottom; r++) {
    for (var s = left; s < right; s++) {
      sum += f32(x[((image + r) * params.width + s) * params.channels + c]);
    }
  }
  y[index] = y_t(sum / f32((bottom - top) * (right - left)));
}
