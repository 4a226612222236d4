// y[b, oy, ox, o] = activation(bias[o] + Σ_{ky, kx, i} x[b, oy·s + ky − 1, ox·s + kx − 1, i] · weight[ky, kx, i, o])
//
// 3×3, zero padding 1. One thread computes 4 output channels of 8 neighbouring pixels: 12 loads feed 32 products.

override HAS_BIAS: bool = false;
override GELU: bool = false;

const PIXELS = 8u;

struct Params {
  height: u32,       // H, of one image
  width: u32,        // W
  inputs: u32,       // I
  out_height: u32,   // ⌈H / stride⌉
  out_width: u32,    // ⌈W / stride⌉
  outputs: u32,      // O
  stride: u32,
  first: u32,        // first output row of this run, counted over all images
  rows: u32,         // output rows of this run
  x_row: u32,        // row at which the view `x` starts
  y_row: u32,        // row at which the view `y` starts
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;            // [B·H, W, I], base row x_row
@group(0) @binding(1) var<storage, read> weight: array<weight_t>;  // [3, 3, I, O]
@group(0) @binding(2) var<storage, read> bias: array<bias_t>;      // [O]
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;      // [B·H', W', O], base row y_row
@group(1) @binding(0) var<uniform> params: Params;

// Φ by erf, Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
fn gelu(v: vec4f) -> vec4f {
  let z = abs(v) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return v * select(tail, 1.0 - tail, v >= vec4f(0));
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let quads = (params.outputs + 3) / 4;
  let tiles = (params.out_width + PIXELS - 1) / PIXELS;
  let index = (group.y * groups.x + group.x) * 64 + thread;
  let quad = index % quads;
  let tile = index / quads % tiles;
  let row = index / quads / tiles;
  if (row >= params.rows) { return; }

  // The last quad may reach past the channels: it computes the last one again and does not store it.
  let o = min(vec4u(quad * 4) + vec4u(0, 1, 2, 3), vec4u(params.outputs - 1));
  let image_row = (params.first + row) / params.out_height * params.height;
  let top = i32((params.first + row) % params.out_height * params.stride) - 1;
  let left = i32(tile * PIXELS * params.stride) - 1;

  var sums: array<vec4f, PIXELS>;
  for (var ky = 0; ky < 3; ky++) {
    let iy = top + ky;
    if (iy < 0 || iy >= i32(params.height)) { continue; }
    let line = (image_row + u32(iy) - params.x_row) * params.width;
    for (var kx = 0; kx < 3; kx++) {
      for (var i = 0u; i < params.inputs; i++) {
        let at = (u32(ky * 3 + kx) * params.inputs + i) * params.outputs;
        let w = vec4f(
          f32(weight[at + o.x]), f32(weight[at + o.y]), f32(weight[at + o.z]), f32(weight[at + o.w]));
        for (var p = 0u; p < PIXELS; p++) {
          let ix = left + i32(p * params.stride) + kx;
          let column = u32(clamp(ix, 0, i32(params.width) - 1));
          let value = f32(x[(line + column) * params.inputs + i]);
          sums[p] += select(0.0, value, ix == i32(column)) * w;
        }
      }
    }
  }

  var offset = vec4f(0);
  if (HAS_BIAS) { offset = vec4f(f32(bias[o.x]), f32(bias[o.y]), f32(bias[o.z]), f32(bias[o.w])); }
  let y_line = (params.first + row - params.y_row) * params.out_width;
  for (var p = 0u; p < PIXELS; p++) {
    let ox = tile * PIXELS + p;
    if (ox >= params.out_width) { return; }
    var value = sums[p] + offset;
    if (GELU) { value = gelu(value); }
    for (var j = 0u; j < 4 && quad * 4 + j < params.outputs; j++) {
      y[(y_line + ox) * params.outputs + quad * 4 + j] = y_t(value[j]);
    }
  }
}
