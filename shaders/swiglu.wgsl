// y[t, i] = gate_up[t, I + i] · silu(gate_up[t, i]), silu(g) = g / (1 + exp(−g))
//
// The exponential is taken of −|g|, so that it cannot overflow.

struct Params {
  rows: u32,  // T
  dim: u32,   // I
}

@group(0) @binding(0) var<storage, read> gate_up: array<gate_up_t>;  // [T, 2I]
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;        // [T, I]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = (group.y * groups.x + group.x) * 64 + thread;
  if (index >= params.rows * params.dim) { return; }
  let at = index / params.dim * 2 * params.dim + index % params.dim;
  let gate = f32(gate_up[at]);
  let e = exp(-abs(gate));
  let sigmoid = select(e, 1.0, gate >= 0.0) / (1.0 + e);
  y[index] = y_t(f32(gate_up[at + params.dim]) * gate * sigmoid);
}
