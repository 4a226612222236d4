// token[r] = the id of max_g best[r, g], the lowest on ties; seen[r, token[r]] += 1
//
// One thread per row: there are few workgroups' bests to compare.

override HAS_SEEN: bool = false;

const WORKGROUP_SIZE = 64u;
const NONE = 0xffffffffu;

struct Params {
  rows: u32,     // R
  columns: u32,  // V
  groups: u32,   // G
}

@group(0) @binding(0) var<storage, read> best: array<vec2u>;          // [R, G]: bits of the score, id
@group(0) @binding(1) var<storage, read_write> seen: array<u32>;      // [R, V]
@group(0) @binding(2) var<storage, read_write> token: array<u32>;     // [R]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  var score = 0.0;
  var at = NONE;
  for (var g = 0u; g < params.groups; g++) {
    let other = best[row * params.groups + g];
    if (other.y == NONE) { continue; }
    if (at == NONE || bitcast<f32>(other.x) > score) {
      score = bitcast<f32>(other.x);
      at = other.y;
    }
  }
  let chosen = select(at, 0u, at == NONE);
  token[row] = chosen;
  if (HAS_SEEN) { seen[row * params.columns + chosen] += 1; }
}
