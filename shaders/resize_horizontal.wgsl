// middle[r, j] = the pixel of row r and column j of the crop, resized along x and rounded to 8 bits
//
// The source lies on a black canvas: what it does not cover adds nothing to the sums. One thread per pixel.

struct Params {
  rows: u32,          // rows of this run
  first_row: u32,     // its first row in the source
  source_width: u32,
  canvas_left: u32,   // canvas column of the source's first
  width: u32,         // W, columns of the crop
  crop_left: u32,     // column of the resized image where the crop starts
  taps: u32,
}

@group(0) @binding(0) var<storage, read> pixels: array<pixels_t>;         // RGB bytes, 4 per word, base first_row on
@group(0) @binding(1) var<storage, read> windows: array<windows_t>;       // [columns, 2]: start, count
@group(0) @binding(2) var<storage, read> weights: array<weights_t>;       // [columns, taps], i32 in units of 2⁻²²
@group(0) @binding(3) var<storage, read_write> middle: array<middle_t>;   // [source rows, W], R | G << 8 | B << 16
@group(1) @binding(0) var<uniform> params: Params;

fn byte(at: u32) -> i32 { return i32(extractBits(pixels[at / 4], at % 4 * 8, 8)); }

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * 64 + thread;
  let row = index / params.width;
  if (row >= params.rows) { return; }
  let column = params.crop_left + index % params.width;
  let start = windows[2 * column];
  let end = start + windows[2 * column + 1];

  var sum = vec3i(1 << 21);  // one half, so that the shift rounds
  let covered_end = min(end, params.canvas_left + params.source_width);
  for (var c = max(start, params.canvas_left); c < covered_end; c++) {
    let at = (row * params.source_width + c - params.canvas_left) * 3;
    let weight = bitcast<i32>(weights[column * params.taps + c - start]);
    sum += weight * vec3i(byte(at), byte(at + 1), byte(at + 2));
  }
  let rgb = vec3u(clamp(sum >> vec3u(22), vec3i(0), vec3i(255)));
  middle[(params.first_row + row) * params.width + index % params.width] = rgb.r | (rgb.g << 8) | (rgb.b << 16);
}
