// y[t, d] = table[ids[t] - first, d] for the ids within first … first + rows; other rows of y are left alone
//
// One thread per element. A table larger than one binding is read in several runs, each for a range of ids; the first
// run also writes zeros for ids past the vocabulary.

override WORKGROUP_SIZE: u32 = 64;

struct Params {
  size: u32,   // T · D
  dim: u32,    // D
  first: u32,  // id of the first row of this part of the table
  rows: u32,   // rows in this part
  vocab: u32,  // rows in the whole table
}

@group(0) @binding(0) var<storage, read> ids: array<ids_t>;      // [T]
@group(0) @binding(1) var<storage, read> table: array<table_t>;  // [rows, D]
@group(0) @binding(2) var<storage, read_write> y: array<y_t>;    // [T, D]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  if (i >= params.size) { return; }
  let id = u32(ids[i / params.dim]);
  if (id >= params.first && id - params.first < params.rows) {
    y[i] = y_t(table[(id - params.first) * params.dim + i % params.dim]);
  } else if (params.first == 0 && id >= params.vocab) {
    y[i] = y_t(0);
  }
}
