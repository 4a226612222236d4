// y[i, j, c] = the pixel of row i and column j of the crop, resized along y, rounded to 8 bits
//
// Rows of the canvas that the source does not cover are black and add nothing to the sums. One thread per 4 pixels, which are 3 words.

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
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;        // [⌈3·H·W / 4⌉], RGB bytes, 4 per word
@group(1) @binding(0) var<uniform> params: Params;

// R | G << 8 | B << 16; past the end 0
fn pixel(index: u32) -> u32 {
  if (index >= params.height * params.width) { return 0; }
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
  let value = vec3u(clamp(sum >> vec3u(22), vec3i(0), vec3i(255)));
  return value.r | (value.g << 8) | (value.b << 16);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = 3 * ((group.y * groups.x + group.x) * 64 + thread);
  let words = (3 * params.height * params.width + 3) / 4;
  if (at >= words) { return; }
  let first = at / 3 * 4;
  let rgb = vec4u(pixel(first), pixel(first + 1), pixel(first + 2), pixel(first + 3));
  y[at] = rgb[0] | (rgb[1] << 24);
  if (at + 1 < words) { y[at + 1] = (rgb[1] >> 8) | (rgb[2] << 16); }
  if (at + 2 < words) { y[at + 2] = (rgb[2] >> 16) | (rgb[3] << 8); }
}
