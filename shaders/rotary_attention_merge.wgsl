// y[row, n, :] = Σ_p w_p · x[n, p, :] / Σ_p w_p,  w_p = exp(top_p - max_p top_p) · total_p
//
// The parts of `rotary_attention`, one workgroup per query head and one thread per vector of it.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  heads: u32,  // N
  parts: u32,  // P
  row: u32,    // row of this sequence in y
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;        // [N, P, HEAD_DIM + 4]: results, then top, total
@group(0) @binding(1) var<storage, read_write> y: array<vec4<y_t>>;  // [R, N, HEAD_DIM]
@group(1) @binding(0) var<uniform> params: Params;

const VECTORS = HEAD_DIM / 4;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.y * groups.x + group.x;
  if (head >= params.heads || thread >= VECTORS) { return; }
  let begin = head * params.parts * (VECTORS + 1);
  var top = -3.0e38;
  for (var p = 0u; p < params.parts; p++) { top = max(top, f32(x[begin + p * (VECTORS + 1) + VECTORS].x)); }
  var sum = vec4f();
  var total = 0.0;
  for (var p = 0u; p < params.parts; p++) {
    let at = begin + p * (VECTORS + 1);
    let part = vec4f(x[at + VECTORS]);
    let weight = exp(part.x - top) * part.y;
    sum += weight * vec4f(x[at + thread]);
    total += weight;
  }
  y[(params.row * params.heads + head) * VECTORS + thread] = vec4<y_t>(sum / total);
}
