// y[r] = the lowest c < limit with x[r, c] = max_c x[r, c]
//
// One workgroup per row. Each thread keeps the best of a strided slice, then pairs are compared. NaN never wins.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  rows: u32,
  dim: u32,    // elements in a row
  limit: u32,  // elements from here on are ignored
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;        // [R, C]
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;  // [R]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> best: array<f32, WORKGROUP_SIZE>;
var<workgroup> place: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  var highest = -3.4028234e38;
  var at = 0xffffffffu;
  for (var c = thread; c < params.limit; c += WORKGROUP_SIZE) {
    let value = f32(x[row * params.dim + c]);
    if (value > highest || (at == 0xffffffffu && value == highest)) {
      highest = value;
      at = c;
    }
  }
  best[thread] = highest;
  place[thread] = at;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) {
      let other = thread + half;
      if (best[other] > best[thread] || (best[other] == best[thread] && place[other] < place[thread])) {
        best[thread] = best[other];
        place[thread] = place[other];
      }
    }
    workgroupBarrier();
  }
  if (thread == 0) { y[row] = y_t(select(place[0], 0u, place[0] == 0xffffffffu)); }
}
