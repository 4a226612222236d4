// y[i] = bytes[i] / 255, rounded to the nearest number of the element type
//
// In base 256, b / 255 is the fraction 0.bbbb…: its leading bits come from integers, since the last bit of a division is the
// adapter's to choose. What lies past them is never zero, so the next bit alone says which way to round. One thread per word.

override MANTISSA_BITS: u32;  // of y, with the leading one

struct Params {
  size: u32,  // elements
}

@group(0) @binding(0) var<storage, read> bytes: array<bytes_t>;   // [⌈size / 4⌉], 4 bytes per word, lowest first
@group(0) @binding(1) var<storage, read_write> y: array<y_t>;     // [size]
@group(1) @binding(0) var<uniform> params: Params;

fn scaled(four: vec4u) -> vec4f {
  let zeros = countLeadingZeros(four) - 24;
  let bits = (four * 0x01010101) << zeros;
  let mantissas = (bits >> vec4u(32 - MANTISSA_BITS)) + ((bits >> vec4u(31 - MANTISSA_BITS)) & vec4u(1));
  return ldexp(vec4f(mantissas), -vec4i(zeros + MANTISSA_BITS));
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let first = 4 * ((group.y * groups.x + group.x) * 64 + thread);
  if (first >= params.size) { return; }
  let four = scaled((vec4u(bytes[first / 4]) >> vec4u(0, 8, 16, 24)) & vec4u(255));
  y[first] = y_t(four[0]);
  if (first + 3 < params.size) {
    y[first + 1] = y_t(four[1]);
    y[first + 2] = y_t(four[2]);
    y[first + 3] = y_t(four[3]);
  } else {
    for (var i = 1u; first + i < params.size; i++) { y[first + i] = y_t(four[i]); }
  }
}
