// codes[o, c] ← round((source[o, c] − offset) / scale), scales[o, c/32] ← scale and offset, fitted to each group of 32 inputs
//
// One thread per pair of groups of an output; a group past C gets zeros. Codes are rounded against the scale as it is stored.
// The scale of int4 is −1/8 of the element of largest magnitude, of int8 1/127 of the magnitude, of int4-affine 1/15 of the range.

override WORKGROUP_SIZE: u32 = 64;
override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override SOURCE: u32 = 0;  // 0 f32, 1 f16, 2 bfloat16

struct Params {
  rows: u32,    // rows of source
  inputs: u32,  // C
  first: u32,   // output that the first row belongs to
  groups: u32,  // G, groups of 32 inputs, padded to an even number
}

@group(0) @binding(0) var<storage, read> source: array<u32>;        // [rows, C]
@group(0) @binding(1) var<storage, read_write> codes: array<vec4u>; // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read_write> scales: array<u32>;  // [O/8, G/2 (int4-affine: G), 8]
@group(1) @binding(0) var<uniform> params: Params;

// Elements at and at + 1; at is even.
fn pair(at: u32) -> vec2f {
  if (SOURCE == 0) { return vec2f(bitcast<f32>(source[at]), bitcast<f32>(source[at + 1])); }
  let word = source[at / 2];
  if (SOURCE == 1) { return unpack2x16float(word); }
  return vec2f(bitcast<f32>(word << 16), bitcast<f32>(word & 0xffff0000));
}

// The nearest half, as bits: adapters may round either way when they pack halves, and scales should not depend on the adapter.
fn half(v: f32) -> u32 {
  let magnitude = min(abs(v), 65504.0);
  let bits = bitcast<u32>(magnitude);
  let normal = (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13;
  let subnormal = u32(round(magnitude * 16777216.0));
  return select(subnormal, normal, bits >= 0x38800000) | ((bitcast<u32>(v) >> 31) << 15);
}

// Scale and offset of 32 elements, as halves.
fn fit(start: u32) -> u32 {
  var least = pair(start).x;
  var greatest = least;
  for (var i = 0u; i < 32; i += 2) {
    let v = pair(start + i);
    least = min(least, min(v.x, v.y));
    greatest = max(greatest, max(v.x, v.y));
  }
  let extreme = select(greatest, least, -least > greatest);
  var s = vec2f(extreme / -8.0, 0.0);
  if (FORMAT == 1) { s = vec2f((greatest - least) / 15.0, least); }
  if (FORMAT == 2) { s.x = abs(extreme) / 127.0; }
  return half(s.x) | (half(s.y) << 16);
}

fn code_of(v: f32, s: vec2f) -> u32 {
  let code = select(round((v - s.y) / s.x), 0.0, s.x == 0.0);
  if (FORMAT == 1) { return u32(clamp(code, 0.0, 15.0)); }
  if (FORMAT == 2) { return bitcast<u32>(i32(clamp(code, -127.0, 127.0))) & 255; }
  return u32(clamp(code, -8.0, 7.0) + 8.0);
}

// One word of codes of the elements from `start`.
fn word(start: u32, s: vec2f) -> u32 {
  let bits = select(4u, 8u, FORMAT == 2);
  var result = 0u;
  for (var i = 0u; i < 32 / bits; i += 2) {
    let v = pair(start + i);
    result |= (code_of(v.x, s) | (code_of(v.y, s) << bits)) << (i * bits);
  }
  return result;
}

fn vector(start: u32, s: vec2f) -> vec4u {
  let step = select(8u, 4u, FORMAT == 2);
  return vec4u(word(start, s), word(start + step, s), word(start + 2 * step, s), word(start + 3 * step, s));
}

// Writes the codes of group g and returns its scale and offset, as halves.
fn group_of(row: u32, g: u32) -> u32 {
  let o = params.first + row;
  let at = (o / 8 * params.groups + g) * select(8u, 16u, FORMAT == 2) + o % 8;
  let inside = g * 32 < params.inputs;
  let start = row * params.inputs + select(0u, g * 32, inside);
  let halves = select(0, fit(start), inside);
  let s = unpack2x16float(halves);
  codes[at] = vector(start, s);
  if (FORMAT == 2) { codes[at + 8] = vector(start + 16, s); }
  return halves;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * WORKGROUP_SIZE + thread;
  let pairs = params.groups / 2;
  if (i >= params.rows * pairs) { return; }
  let row = i / pairs;
  let g = i % pairs * 2;
  let a = group_of(row, g);
  let b = group_of(row, g + 1);
  let o = params.first + row;
  if (FORMAT == 1) {
    let at = (o / 8 * params.groups + g) * 8 + o % 8;
    scales[at] = a;
    scales[at + 8] = b;
  } else {
    scales[(o / 8 * pairs + g / 2) * 8 + o % 8] = (a & 0xffff) | (b << 16);
  }
}
