// y[b, h, w, c] = bias[c] + Σ_{i,j} x[b, h + i - K/2, w + j - K/2, c] · weight[i, j, c], zero outside the map
//
// As depthwise_conv2d_half4.wgsl with stride 1, for CPUs, where loads decide. A thread walks along ROWS rows of output, for 4 channels:
// it loads each column of the input rows below them once, and adds to the K pixels whose windows hold it. The leftmost is then done.

override HAS_BIAS: bool = false;

const STRIP = 64u;  // output columns of a thread
const ROWS = 2u;    // two, more than which compilers keep in memory, at many times the cost
const HEIGHT = KERNEL + ROWS - 1;
const PADDING = i32(KERNEL / 2);

struct Params {
  height: u32,  // H, of one image
  width: u32,   // W
  quads: u32,   // C / 4
  first: u32,   // first output row of this run, counted over all images; like H and rows, a multiple of ROWS
  rows: u32,    // output rows of this run
  x_row: u32,   // row at which the view `x` starts
  y_row: u32,   // row at which the view `y` starts
}

@group(0) @binding(0) var<storage, read> x: array<vec2u>;             // [B·H, W, C] in fours, base row x_row
@group(0) @binding(1) var<storage, read> weight: array<vec2u>;        // [K, K, C/4]
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;   // [C/4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;   // [B·H, W, C/4], base row y_row
@group(1) @binding(0) var<uniform> params: Params;

fn widen(words: vec2u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let strips = (params.width + STRIP - 1) / STRIP;
  let index = (group.y * groups.x + group.x) * 64 + thread;
  let quad = index % params.quads;
  let start = index / params.quads % strips * STRIP;
  let row = index / params.quads / strips * ROWS;
  if (row >= params.rows) { return; }

  // A loop that compilers do not know the length of: unrolled, it would take them most of their time.
  var loaded: array<vec2u, KERNEL * KERNEL>;
  for (var i = 0u; i < KERNEL * KERNEL * min(params.rows, 1); i++) { loaded[i] = weight[i * params.quads + quad]; }
  let words = loaded;
  var w: array<array<vec4f, KERNEL>, KERNEL>;
  for (var i = 0u; i < KERNEL; i++) {
    for (var j = 0u; j < KERNEL; j++) { w[i][j] = widen(words[i * KERNEL + j]); }
  }
  var offset = vec4f(0);
  if (HAS_BIAS) { offset = vec4f(bias[quad]); }

  let image_row = (params.first + row) / params.height * params.height - params.x_row;
  let top = i32((params.first + row) % params.height) - PADDING;
  let line = ((params.first + row - params.y_row) * params.width + start) * params.quads + quad;
  let end = i32(min(STRIP, params.width - start)) + PADDING;
  var sums: array<array<vec4f, KERNEL>, ROWS>;  // of the pixels whose windows hold a column, from the left
  for (var c = -PADDING; c < end; c++) {
    let ix = i32(start) + c;
    let column = clamp(ix, 0, i32(params.width) - 1);
    var values: array<vec4f, HEIGHT>;
    for (var i = 0u; i < HEIGHT; i++) {
      let iy = top + i32(i);
      let input_row = clamp(iy, 0, i32(params.height) - 1);
      let at = (image_row + u32(input_row)) * params.width + u32(column);
      values[i] = select(vec4f(0), widen(x[at * params.quads + quad]), ix == column && iy == input_row);
    }
    for (var r = 0u; r < ROWS; r++) {
      for (var j = 0u; j < KERNEL; j++) {
        var sum = vec4f(0);
        if (j + 1 < KERNEL) { sum = sums[r][j + 1]; }
        for (var i = 0u; i < KERNEL; i++) { sum += values[i + r] * w[i][KERNEL - 1 - j]; }
        sums[r][j] = sum;
      }
    }
    if (c < PADDING) { continue; }
    for (var r = 0u; r < ROWS; r++) {
      y[line + (r * params.width + u32(c - PADDING)) * params.quads] = vec4<y_t>(sums[r][0] + offset);
    }
  }
}
