// y[b, oy, ox, o] = activation(bias[o] + Σ_{ky, kx} x[b, oy·s + ky − p, ox·s + kx − p, ⌊o / m⌋] · weight[ky, kx, o])
//
// Any number of channels and any multiplier m = O / C. One thread computes one output; neighbours differ in channel.

override HAS_BIAS: bool = false;
override GELU: bool = false;

struct Params {
  height: u32,      // H, of one image
  width: u32,       // W
  channels: u32,    // C
  out_height: u32,  // ⌈H / stride⌉
  out_width: u32,   // ⌈W / stride⌉
  outputs: u32,     // O
  stride: u32,
  kernel: u32,      // K; padding p = ⌊K / 2⌋
  first: u32,       // first output row of this run, counted over all images
  rows: u32,        // output rows of this run
  x_row: u32,       // row at which the view `x` starts
  y_row: u32,       // row at which the view `y` starts
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;            // [B·H, W, C], base row x_row
@group(0) @binding(1) var<storage, read> weight: array<weight_t>;  // [K, K, O]
@group(0) @binding(2) var<storage, read> bias: array<bias_t>;      // [O]
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;      // [B·H', W', O], base row y_row
@group(1) @binding(0) var<uniform> params: Params;

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: f32) -> f32 {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= 0.0);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * 64 + thread;
  let o = index % params.outputs;
  let ox = index / params.outputs % params.out_width;
  let row = index / params.outputs / params.out_width;
  if (row >= params.rows) { return; }

  let channel = o / (params.outputs / params.channels);
  let padding = i32(params.kernel / 2);
  let image_row = (params.first + row) / params.out_height * params.height;
  let top = i32((params.first + row) % params.out_height * params.stride) - padding;
  let left = i32(ox * params.stride) - padding;

  var sum = 0.0;
  if (HAS_BIAS) { sum = f32(bias[o]); }
  for (var ky = max(0, -top); ky < min(i32(params.kernel), i32(params.height) - top); ky++) {
    let line = (image_row + u32(top + ky) - params.x_row) * params.width;
    for (var kx = max(0, -left); kx < min(i32(params.kernel), i32(params.width) - left); kx++) {
      let w = f32(weight[(u32(ky) * params.kernel + u32(kx)) * params.outputs + o]);
      sum += w * f32(x[(line + u32(left + kx)) * params.channels + channel]);
    }
  }
  if (GELU) { sum = gelu(sum); }
  y[((params.first + row - params.y_row) * params.out_width + ox) * params.outputs + o] = y_t(sum);
}
