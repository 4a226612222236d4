// y[i, j, c] = the pixel of row i and column j of the crop, resized along y, rounded to 8 bits, over 255
//
// Rows of the canvas that the source does not cover are black and add nothing to the sums. One thread per pixel.

struct Params {
  height: u32,         // H, rows of the crop
  width: u32,          // W, columns of the crop
  source_height: u32,
  canvas_top: u32,     // canvas row of the source's first
  crop_top: u32,       // row of the resized image where the crop starts
  taps: u32,
}

@group(0) @binding(0) var<storage, read> middle: array<middle_t>;    // [source rows, W], R | G << 8 | B << 16
@group(0) @binding(1) var<storage, read> windows: array<windows_t>;  // [rows, 2]: start, count
@group(0) @binding(2) var<storage, read> weights: array<weights_t>;  // [rows, taps], i32 in units of 2⁻²²
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;        // [H, W, 3]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * 64 + thread;
  if (index >= params.height * params.width) { return; }
  let row = params.crop_top + index / params.width;
  let column = index % params.width;
  let start = windows[2 * row];
  let end = start + windows[2 * row + 1];

  var sum = vec3i(1 << 21);  // one half, so that the shift rounds
  let covered_end = min(end, params.canvas_top + params.source_height);
  for (var r = max(start, params.canvas_top); r < covered_end; r++) {
    let rgb = middle[(r - params.canvas_top) * params.width + column];
    let weight = bitcast<i32>(weights[row * params.taps + r - start]);
    sum += weight * vec3i(vec3u(rgb & 255, (rgb >> 8) & 255, rgb >> 16));
  }
  let value = vec3f(clamp(sum >> vec3u(22), vec3i(0), vec3i(255))) / 255;
  y[index * 3] = y_t(value.r);
  y[index * 3 + 1] = y_t(value.g);
  y[index * 3 + 2] = y_t(value.b);
}
