// y[r] = the index of max_g best[r, g], the lowest on ties; 0 where no part has one
//
// One workgroup per row; a thread is a part.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  rows: u32,   // R
  parts: u32,  // at most WORKGROUP_SIZE
}

@group(0) @binding(0) var<storage, read> best: array<vec2u>;   // [R, parts]: bits of the element, its index or NONE
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;  // [R]
@group(1) @binding(0) var<uniform> params: Params;

const NONE = 0xffffffffu;

var<workgroup> highest: array<f32, WORKGROUP_SIZE>;
var<workgroup> place: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let own = best[row * params.parts + min(thread, params.parts - 1)];
  highest[thread] = bitcast<f32>(own.x);
  place[thread] = own.y;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    if (thread < half) {
      let other = thread + half;
      if (highest[other] > highest[thread] || (highest[other] == highest[thread] && place[other] < place[thread])) {
        highest[thread] = highest[other];
        place[thread] = place[other];
      }
    }
    workgroupBarrier();
  }
  if (thread == 0) { y[row] = y_t(select(place[0], 0u, place[0] == NONE)); }
}
