// y[b, oy, ox, (ky·K + kx)·I + i] = x[b, oy·s + ky − ⌊K/2⌋, ox·s + kx − ⌊K/2⌋, i], 0 outside the image and past the last of K·K·I
//
// What a dense convolution multiplies, window by window, so that it becomes a matrix product. One thread writes 4 elements of a row.

override WORKGROUP_SIZE: u32 = 64;
override KERNEL: u32 = 3;  // K, odd
override INPUTS: u32 = 3;  // I
override QUADS: u32 = 8;   // quarter of a row of y

struct Params {
  height: u32,      // H, of one image
  width: u32,       // W
  out_height: u32,  // ⌈H / s⌉
  out_width: u32,   // ⌈W / s⌉
  stride: u32,      // s
  first: u32,       // first output row of this run, counted over all images
  rows: u32,        // output rows of this run
  x_row: u32,       // row at which the view `x` starts
  y_row: u32,       // row at which the view `y` starts
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;              // [B·H, W, I], base row x_row
@group(0) @binding(1) var<storage, read_write> y: array<vec4<y_t>>;  // [B·H', W', 4·QUADS], base row y_row
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  let quad = index % QUADS;
  let pixel = index / QUADS;
  let row = pixel / params.out_width;
  let column = pixel % params.out_width;
  if (row >= params.rows) { return; }
  let image_row = (params.first + row) / params.out_height * params.height;
  let top = i32((params.first + row) % params.out_height * params.stride) - i32(KERNEL / 2);
  let left = i32(column * params.stride) - i32(KERNEL / 2);
  let bottom = vec2i(i32(params.height), i32(params.width)) - 1;
  var values: vec4f;
  for (var j = 0u; j < 4; j++) {
    let tap = (quad * 4 + j) / INPUTS;
    let place = vec2i(top + i32(tap / KERNEL), left + i32(tap % KERNEL));
    let inside = clamp(place, vec2i(0), bottom);
    // A tap outside reads within the image, and of the view: its row is one that the window has.
    let line = image_row + u32(inside.x) - params.x_row;
    let is_tap = tap < KERNEL * KERNEL && all(place == inside);
    let at = select(0u, (line * params.width + u32(inside.y)) * INPUTS + (quad * 4 + j) % INPUTS, is_tap);
    values[j] = select(0.0, f32(x[at]), is_tap);
  }
  y[((params.first + row - params.y_row) * params.out_width + column) * QUADS + quad] = vec4<y_t>(values);
}
