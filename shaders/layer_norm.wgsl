// y[r, c] = weight[c] · (x[r, c] − mean_c(x[r, :])) / sqrt(var_c(x[r, :]) + eps) + bias[c]
//
// One workgroup per row. The variance is summed around the mean: the mean of squares minus the squared mean cancels.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  rows: u32,  // R
  dim: u32,   // C, elements in a row
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;            // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<weight_t>;  // [C]
@group(0) @binding(2) var<storage, read> bias: array<bias_t>;      // [C]
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;      // [R, C]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP_SIZE>;

// The sum over all threads, for all threads.
fn total(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  partial[thread] = value;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
  }
  return partial[0];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let start = row * params.dim;
  let dim = f32(params.dim);

  var sum = 0.0;
  for (var c = thread; c < params.dim; c += WORKGROUP_SIZE) { sum += f32(x[start + c]); }
  let mean = total(thread, sum) / dim;

  var squares = 0.0;
  for (var c = thread; c < params.dim; c += WORKGROUP_SIZE) {
    let centred = f32(x[start + c]) - mean;
    squares += centred * centred;
  }
  let scale = inverseSqrt(total(thread, squares) / dim + params.eps);

  for (var c = thread; c < params.dim; c += WORKGROUP_SIZE) {
    y[start + c] = y_t((f32(x[start + c]) - mean) * scale * f32(weight[c]) + f32(bias[c]));
  }
}
