// y[r, c] = weight[c] · x[r, c] / sqrt(mean_c(x[r, :]²) + eps)
//
// One workgroup per row, on GPUs with subgroups of any size: threads take vectors in turn, sums meet by shuffles, then over a
// single barrier. C must be a multiple of 4.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  rows: u32,  // R
  dim: u32,   // C, elements in a row
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;            // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<vec4<weight_t>>;  // [C]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<y_t>>;      // [R, C]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP_SIZE / 8>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_size) size: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let vectors = params.dim / 4;
  let start = row * vectors;
  var sum = 0.0;
  for (var c = thread; c < vectors; c += WORKGROUP_SIZE) {
    let v = vec4f(x[start + c]);
    sum += dot(v, v);
  }
  for (var m = 1u; m < size; m *= 2) { sum += subgroupShuffleXor(sum, m); }
  if (thread % size == 0) { partial[thread / size] = sum; }
  workgroupBarrier();
  sum = 0.0;
  for (var p = 0u; p < WORKGROUP_SIZE / size; p++) { sum += partial[p]; }
  let scale = inverseSqrt(sum / f32(params.dim) + params.eps);
  for (var c = thread; c < vectors; c += WORKGROUP_SIZE) {
    y[start + c] = vec4<y_t>(vec4f(x[start + c]) * scale * vec4f(weight[c]));
  }
}
