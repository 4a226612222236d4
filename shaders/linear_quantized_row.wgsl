// y[r, o] = residual[r, o] + bias[o] + Σ_c x[r, c] · (scale[o, c/32] · code[o, c] + offset[o, c/32])
//
// Few rows (decoding) on any GPU: one workgroup per row and 8 outputs. Neighbouring threads read neighbouring vectors of codes,
// those of the 8 outputs; each further 8 threads take the next group of inputs. The partial sums are added pairwise.

override WORKGROUP_SIZE: u32 = 64;
override FORMAT: u32 = 0;  // 0 int4, 1 int4-affine, 2 int8
override HAS_BIAS: bool = false;
override HAS_RESIDUAL: bool = false;
override SWIGLU: bool = false;  // y[r, o] = sum[r, o + O/2] · silu(sum[r, o]): gates, then as many ups

struct Params {
  rows: u32,     // R
  inputs: u32,   // C
  outputs: u32,  // outputs of this part of the weight
  first: u32,    // index of the first of them
  stride: u32,   // O, outputs of the whole weight
  groups: u32,   // G, groups of 32 inputs, padded to an even number
}

@group(0) @binding(0) var<storage, read> x: array<vec4<x_t>>;          // [R, C]
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;          // [O/8, G (int8: 2G), 8] of 4 words
@group(0) @binding(2) var<storage, read> scales: array<u32>;           // [O/8, G/2 (int4-affine: G), 8]
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;          // [O]
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;  // [R, O]
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;          // [R, O]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<vec2f, WORKGROUP_SIZE>;

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

// Scale and offset of group g of the output whose scales begin at `at`.
fn scale_of(at: u32, g: u32) -> vec2f {
  if (FORMAT == 1) { return unpack2x16float(scales[at + g * 8]); }
  let pair = unpack2x16float(scales[at + g / 2 * 8]);
  return vec2f(select(pair.x, pair.y, g % 2 == 1), 0.0);
}

// Codes as numbers: the low four of a word, and the high four of int4; int4 without offset counts from 8.
fn low(w: u32) -> vec4f {
  if (FORMAT == 2) { return vec4f(bitcast<vec4i>(vec4u(w) << vec4u(24, 16, 8, 0)) >> vec4u(24)); }
  if (FORMAT == 1) { return vec4f((vec4u(w) >> vec4u(0, 4, 8, 12)) & vec4u(15)); }
  return vec4f(bitcast<vec4i>(vec4u(w ^ 0x8888) << vec4u(28, 24, 20, 16)) >> vec4u(28));
}

fn high(w: u32) -> vec4f { return low(w >> 16); }

// Σ code · x and Σ x over one vector of codes; its inputs begin at x[at].
fn products(w: vec4u, at: u32) -> vec2f {
  var sums = vec2f();
  var words = w;
  for (var i = 0u; i < 4; i++) {
    if (FORMAT == 2) {
      sums.x += dot(vec4f(x[at + i]), low(words.x));
    } else {
      let a = vec4f(x[at + 2 * i]);
      let b = vec4f(x[at + 2 * i + 1]);
      sums += vec2f(dot(a, low(words.x)) + dot(b, high(words.x)), dot(a + b, vec4f(1)));
    }
    words = words.yzwx;
  }
  return sums;
}

// This thread's share of the sum of output `lane` of a block.
fn share(block: u32, row: u32, thread: u32) -> f32 {
  let lane = thread % 8;
  let scale = block * params.groups * select(4u, 8u, FORMAT == 1) + lane;
  let start = row * (params.inputs / 4);
  var sum = 0.0;
  for (var g = thread / 8; g < params.inputs / 32; g += WORKGROUP_SIZE / 8) {
    let s = scale_of(scale, g);
    let at = start + g * 8;
    if (FORMAT == 2) {
      let code = (block * params.groups + g) * 16 + lane;
      sum += s.x * (products(codes[code], at).x + products(codes[code + 8], at + 4).x);
    } else {
      let p = products(codes[(block * params.groups + g) * 8 + lane], at);
      sum += s.x * p.x + s.y * p.y;
    }
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let part = group.y * groups.x + group.x;
  let all_blocks = (params.outputs + 7) / 8;
  let blocks = select(all_blocks, all_blocks / 2, SWIGLU);
  let row = part / blocks;
  let block = part % blocks;
  if (row >= params.rows) { return; }
  partial[thread] = vec2f(share(block, row, thread), 0);
  if (SWIGLU) { partial[thread].y = share(block + blocks, row, thread); }
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2; half >= 8; half /= 2) {
    if (thread < half) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
  }
  let o = block * 8 + thread;
  if (thread >= 8 || o >= params.outputs) { return; }
  if (SWIGLU) { y[row * params.stride + o] = y_t(swiglu(partial[thread].x, partial[thread].y)); } else { finish(row, o, partial[thread].x); }
}
