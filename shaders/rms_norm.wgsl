// y[r, c] = weight[c] · x[r, c] / sqrt(mean_c(x[r, :]²) + eps)
//
// One workgroup per row. Each thread sums a strided slice of the row, then the workgroup adds the partial sums pairwise.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  rows: u32,  // R
  dim: u32,   // C, elements in a row
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;            // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<weight_t>;  // [C]
@group(0) @binding(2) var<storage, read_write> y: array<y_t>;      // [R, C]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let start = row * params.dim;

  var sum = 0.0;
  for (var c = thread; c < params.dim; c += WORKGROUP_SIZE) {
    let value = f32(x[start + c]);
    sum += value * value;
  }
  partial[thread] = sum;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
  }

  let scale = inverseSqrt(partial[0] / f32(params.dim) + params.eps);
  for (var c = thread; c < params.dim; c += WORKGROUP_SIZE) {
    y[start + c] = y_t(f32(x[start + c]) * scale * f32(weight[c]));
  }
}
