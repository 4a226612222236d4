// y[t, i] = gate_up[t, I + i] · silu(gate_up[t, i]), silu(g) = g / (1 + exp(−g))
//
// The exponential is taken of −|g|, so that it cannot overflow. Workgroups lie along columns and rows; a thread stays in its column.

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
  let i = group.x * 64 + thread;
  if (i >= params.dim) { return; }
  for (var row = group.y; row < params.rows; row += groups.y) {
    let at = row * 2 * params.dim + i;
    let gate = f32(gate_up[at]);
    let e = exp(-abs(gate));
    let sigmoid = select(e, 1.0, gate >= 0.0) / (1.0 + e);
    y[row * params.dim + i] = y_t(f32(gate_up[at + params.dim]) * gate * sigmoid);
  }
}
