// y[r, c] = weight[c] · x[r, c] / sqrt(mean_c(x[r, :]²) + eps)
//
// For CPUs, whose subgroups always have LANES lanes, 8 or 16, and where barriers are slow: one subgroup per row, whose lanes take
// vectors in turn. C: a multiple of 4.

struct Params {
  rows: u32,  // R
  dim: u32,   // C, elements in a row
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;            // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<vec4<weight_t>>;  // [C]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<y_t>>;      // [R, C]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  let vectors = params.dim / 4;
  let start = min(row, params.rows - 1) * vectors;
  var sum = 0.0;
  for (var c = lane; c < vectors; c += LANES) {
    let v = vec4f(x[start + c]);
    sum += dot(v, v);
  }
  sum += subgroupShuffleXor(sum, 1);
  sum += subgroupShuffleXor(sum, 2);
  sum += subgroupShuffleXor(sum, 4);
  if (LANES == 16) { sum += subgroupShuffleXor(sum, 8); }
  if (row >= params.rows) { return; }
  let scale = inverseSqrt(sum / f32(params.dim) + params.eps);
  for (var c = lane; c < vectors; c += LANES) {
    y[start + c] = vec4<y_t>(vec4f(x[start + c]) * scale * vec4f(weight[c]));
  }
}
