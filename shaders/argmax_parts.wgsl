// best[r, g] = the largest element of part g of x[r, :limit] and its index, the lowest on ties
//
// One workgroup per row and part. Each thread keeps the best of a strided slice, then pairs are compared. NaN never wins.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  dim: u32,    // elements in a row
  limit: u32,  // elements from here on are ignored
  chunk: u32,  // elements of a part
}

@group(0) @binding(0) var<storage, read> x: array<x_t>;             // [R, C]
@group(0) @binding(1) var<storage, read_write> best: array<vec2u>;  // [R, groups.x]: bits of the element, its index or NONE
@group(1) @binding(0) var<uniform> params: Params;

const NONE = 0xffffffffu;

var<workgroup> highest: array<f32, WORKGROUP_SIZE>;
var<workgroup> place: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  let end = min(params.limit, (group.x + 1) * params.chunk);
  var top = -3.4028234e38;
  var at = NONE;
  for (var c = group.x * params.chunk + thread; c < end; c += WORKGROUP_SIZE) {
    let value = f32(x[row * params.dim + c]);
    if (value > top || (at == NONE && value == top)) {
      top = value;
      at = c;
    }
  }
  highest[thread] = top;
  place[thread] = at;
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
  if (thread == 0) { best[row * groups.x + group.x] = vec2u(bitcast<u32>(highest[0]), place[0]); }
}
