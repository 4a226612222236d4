// y[b, h, w, o] = act(bias[o] + Σ_{i,j} x[b, h·s + i - K/2, w·s + j - K/2, ⌊o·C/O⌋] · weight[i, j, o]), zero outside the map
//
// As depthwise_conv2d_vec4.wgsl, for f16 input and weights, and also for multiplier 2.
//
// Words of two f16 are loaded and widened: software adapters load every 16-bit element by itself, which takes twice as
// long. One thread computes 8 neighbouring pixels for 4 output channels, and walks down the input rows below them.

override HAS_BIAS: bool = false;
override GELU: bool = false;

const PIXELS = 8u;
const COLUMNS = (PIXELS - 1) * STRIDE + KERNEL;  // input columns below the windows of one thread
const PADDING = i32(KERNEL / 2);

struct Params {
  height: u32,      // H, of one image
  width: u32,       // W
  quads: u32,       // O / 4
  out_height: u32,  // ⌈H / stride⌉
  out_width: u32,   // ⌈W / stride⌉
  first: u32,       // first output row of this run, counted over all images
  rows: u32,        // output rows of this run
  x_row: u32,       // row at which the view `x` starts
  y_row: u32,       // row at which the view `y` starts
}

@group(0) @binding(0) var<storage, read> x: array<vec2u>;             // [B·H, W, C] in fours, base row x_row
@group(0) @binding(1) var<storage, read> weight: array<vec2u>;        // [K, K, O/4]
@group(0) @binding(2) var<storage, read> bias: array<vec4<bias_t>>;   // [O/4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<y_t>>;   // [B·H', W', O/4], base row y_row
@group(1) @binding(0) var<uniform> params: Params;

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: vec4f) -> vec4f {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= vec4f(0));
}

fn widen(words: vec2u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }

// The input channels below the 4 output channels `at`: 4 of them, or 2 of them twice each.
fn load(at: u32) -> vec4f {
  if (MULTIPLIER == 2) {
    let words = x[at / 2];
    return unpack2x16float(select(words.x, words.y, at % 2 == 1)).xxyy;
  }
  return widen(x[at]);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let tiles = (params.out_width + PIXELS - 1) / PIXELS;
  let index = (group.y * groups.x + group.x) * 64 + thread;
  let quad = index % params.quads;
  let tile = index / params.quads % tiles;
  let row = index / params.quads / tiles;
  if (row >= params.rows) { return; }

  let image_row = (params.first + row) / params.out_height * params.height;
  let top = i32((params.first + row) % params.out_height * STRIDE) - PADDING;
  let left = i32(tile * PIXELS * STRIDE) - PADDING;

  var sums: array<vec4f, PIXELS>;
  for (var ky = max(0, -top); ky < min(i32(KERNEL), i32(params.height) - top); ky++) {
    var w: array<vec4f, KERNEL>;
    for (var kx = 0u; kx < KERNEL; kx++) { w[kx] = widen(weight[(u32(ky) * KERNEL + kx) * params.quads + quad]); }
    let line = (image_row + u32(top + ky) - params.x_row) * params.width;
    var values: array<vec4f, COLUMNS>;
    for (var i = 0u; i < COLUMNS; i++) {
      let ix = left + i32(i);
      let column = clamp(ix, 0, i32(params.width) - 1);
      values[i] = select(vec4f(0), load((line + u32(column)) * params.quads + quad), ix == column);
    }
    for (var p = 0u; p < PIXELS; p++) {
      for (var kx = 0u; kx < KERNEL; kx++) { sums[p] += values[p * STRIDE + kx] * w[kx]; }
    }
  }

  var offset = vec4f(0);
  if (HAS_BIAS) { offset = vec4f(bias[quad]); }
  let y_line = (params.first + row - params.y_row) * params.out_width;
  let all = sums;
  let column = tile * PIXELS;
  let count = select(PIXELS, params.out_width - column, params.out_width < column + PIXELS);
  // CPUs' compilers unroll what has a bound, and take twice as long; GPUs' would keep the sums in memory.
  for (var p = 0u; p < select(PIXELS, count, CPU == 1); p++) {
    if (p >= count) { break; }
    var value = all[p] + offset;
    if (GELU) { value = gelu(value); }
    y[(y_line + column + p) * params.quads + quad] = vec4<y_t>(value);
  }
}
