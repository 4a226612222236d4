// y[o] = residual[o] + bias[o] + Σ_c x[c] · (scale[o, c/32] · code[o, c] + offset[o, c/32])
//
// One row (decoding) on CPUs, whose subgroups always have LANES lanes, 8 or 16. A lane computes 4 outputs, a group of 32 inputs at a
// time: a longer loop body is slower. The input, f32, comes four elements a lane, spread by broadcasts; as a uniform buffer it is
// read without branches. Codes stay where they are in their word: the input is divided by what their place multiplies them by, and
// what they count from is taken off with the offset, times the sum of the inputs.

override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;
override SWIGLU: bool = false;  // y[o] = sum[o + O/2] · silu(sum[o]): gates, then as many ups

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
  groups: u32,   // G, groups of 32 inputs, padded to an even number
}

@group(0) @binding(0) var<uniform> x: array<vec4<x_t>, VECTORS>;       // [C]
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;          // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

const WIDTH = LANES / 8;  // blocks side by side

fn swiglu(gate: f32, up: f32) -> f32 {
  let e = exp(-abs(gate));
  return up * gate * select(e, 1.0, gate >= 0.0) / (1.0 + e);
}

fn finish(row: u32, column: u32, sum: f32) {
  let o = params.first + column;
  var v = sum;
  if (HAS_BIAS) { v += f32(bias[o]); }
  let at = row * params.stride + o;
  if (HAS_RESIDUAL) { v += f32(residual[at]); }
  y[at] = y_t(v);
}

// Sum over the 8 lanes that hold a group; of int8, the fourth code of a word has its sign already.
fn total(v: vec4f) -> f32 {
  let s = dot(v, vec4f(1, 1, 1, select(1.0, 0.0, FORMAT == 2)));
  let a = vec4f(subgroupBroadcast(s, 0), subgroupBroadcast(s, 1), subgroupBroadcast(s, 2), subgroupBroadcast(s, 3));
  let b = vec4f(subgroupBroadcast(s, 4), subgroupBroadcast(s, 5), subgroupBroadcast(s, 6), subgroupBroadcast(s, 7));
  return dot(a + b, vec4f(1));
}

fn four(v: vec4f, w: u32) -> f32 {
  if (FORMAT != 2) { return dot(v, vec4f(bitcast<vec4i>(vec4u(w) & vec4u(0xf, 0xf0, 0xf00, 0xf000)))); }
  return dot(v, vec4f(bitcast<vec4i>(vec4u(w ^ 0x808080) & vec4u(0xff, 0xff00, 0xff0000, 0xff000000))));
}

// The products of 8 inputs with the same place of 4 outputs: one word of int4, two of int8.
fn eight(a: vec4f, b: vec4f, w: vec4u, next: vec4u) -> vec4f {
  let u = select(w >> vec4u(16), next, FORMAT == 2);
  return vec4f(four(a, w.x) + four(b, u.x), four(a, w.y) + four(b, u.y), four(a, w.z) + four(b, u.z), four(a, w.w) + four(b, u.w));
}

struct Words { x: vec4u, y: vec4u, z: vec4u, w: vec4u }  // the four words of a vector, each of 4 outputs

fn load(at: vec4u) -> Words {
  let a = codes[at.x];
  let b = codes[at.y];
  let c = codes[at.z];
  let d = codes[at.w];
  return Words(vec4u(a.x, b.x, c.x, d.x), vec4u(a.y, b.y, c.y, d.y), vec4u(a.z, b.z, c.z, d.z), vec4u(a.w, b.w, c.w, d.w));
}

// Σ_c x[c] · weight[o, c] over one group for 4 outputs; each 8 lanes hold its inputs.
fn products(inputs: vec4f, scale: vec4f, offset: vec4f, at: vec4u, g: u32) -> vec4f {
  var sums: vec4f;
  if (FORMAT == 2) {
    let v = inputs * vec4f(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
    let a = load(at + g * 16);
    let b = load(at + g * 16 + 8);
    sums = eight(subgroupBroadcast(v, 0), subgroupBroadcast(v, 1), a.x, a.y);
    sums += eight(subgroupBroadcast(v, 2), subgroupBroadcast(v, 3), a.z, a.w);
    sums += eight(subgroupBroadcast(v, 4), subgroupBroadcast(v, 5), b.x, b.y);
    sums += eight(subgroupBroadcast(v, 6), subgroupBroadcast(v, 7), b.z, b.w);
    return scale * (sums - 128.0 * total(inputs));
  }
  let v = inputs * vec4f(1.0, 0x1p-4, 0x1p-8, 0x1p-12);
  let w = load(at + g * 8);
  sums = eight(subgroupBroadcast(v, 0), subgroupBroadcast(v, 1), w.x, w.x);
  sums += eight(subgroupBroadcast(v, 2), subgroupBroadcast(v, 3), w.y, w.y);
  sums += eight(subgroupBroadcast(v, 4), subgroupBroadcast(v, 5), w.z, w.z);
  sums += eight(subgroupBroadcast(v, 6), subgroupBroadcast(v, 7), w.w, w.w);
  if (FORMAT == 1) { return scale * sums + offset * total(inputs); }
  return scale * (sums - 8.0 * total(inputs));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let part = group.y * groups.x + group.x;
  // Blocks of 8 outputs; with SWIGLU two of gates and the two of ups that belong to them.
  let blocks = (params.outputs + 7) / 8;
  let gates = min(part * 2 * WIDTH + vec2u(0, WIDTH) + lane / 8, vec2u(blocks / 2 - 1));
  let all = min(part * 4 * WIDTH + vec4u(0, WIDTH, 2 * WIDTH, 3 * WIDTH) + lane / 8, vec4u(blocks - 1));
  let block = select(all, vec4u(gates, gates + blocks / 2), SWIGLU);
  let at = block * params.groups * select(8u, 16u, FORMAT == 2) + lane % 8;
  let scale = block * params.groups * select(4u, 8u, FORMAT == 1) + lane % 8;
  var sums = vec4f();
  var pairs: vec4u;  // scale and offset, or the scales of this group and the next, of 4 outputs
  for (var g = 0u; g < VECTORS / 8; g++) {
    if (FORMAT == 1 || g % 2 == 0) {
      let p = scale + select(g / 2, g, FORMAT == 1) * 8;
      pairs = vec4u(scales[p.x], scales[p.y], scales[p.z], scales[p.w]);
    }
    let s = transpose(mat4x2f(unpack2x16float(pairs.x), unpack2x16float(pairs.y), unpack2x16float(pairs.z), unpack2x16float(pairs.w)));
    sums += products(vec4f(x[g * 8 + lane % 8]), s[0], s[1], at, g);
    pairs >>= vec4u(16);
  }
  if (SWIGLU) {
    for (var j = 0u; j < 2; j++) {
      let o = (part * 2 + j) * LANES + lane;
      if (o < params.outputs / 2) { y[o] = y_t(swiglu(sums[j], sums[j + 2])); }
    }
    return;
  }
  let column = part * 4 * LANES + lane;
  for (var j = 0u; j < 4; j++) {
    if (column + j * LANES < params.outputs) { finish(0, column + j * LANES, sums[j]); }
  }
}
