// y[b, p, c] = activation(x[b, p, c] · gate[b, c])

override GELU: bool = false;

struct Params {
  size: u32,      // elements of x
  image: u32,     // elements of one image, P·C
  channels: u32,  // C
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;        // [B, P, C]
@group(0) @binding(1) var<storage, read> gate: array<gate_t>;  // [B, C]
@group(0) @binding(2) var<storage, read_write> y: array<y_t>;  // [B, P, C]
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
  if (index >= params.size) { return; }
  let factor = f32(gate[index / params.image * params.channels + index % params.channels]);
  var value = f32(x[index]) * factor;
  if (GELU) { value = gelu(value); }
  y[index] = y_t(value);
}
