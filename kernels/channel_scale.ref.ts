import { defineSuite } from "./case.ts";
import { channelScale } from "./channel_scale.ts";
import { exactGelu } from "./erf.ts";

interface Case {
  readonly B: number;
  readonly H: number;
  readonly W: number;
  readonly C: number;
  readonly gelu?: boolean;
}

export function channelScaleRef(x: ArrayLike<number>, gate: ArrayLike<number>, { H, W, C, gelu }: Case): Float64Array {
  return Float64Array.from(x, (value, at) => {
    const scaled = value * gate[Math.floor(at / (H * W * C)) * C + (at % C)]!;
    return gelu ? exactGelu(scaled) : scaled;
  });
}

export default defineSuite<Case>({
  name: "channel_scale",
  cases: [
    { B: 1, H: 8, W: 8, C: 3072, gelu: true }, // gate of the last convolution
    { B: 3, H: 5, W: 3, C: 33 },
    { B: 2, H: 1, W: 1, C: 1, gelu: true },
  ],
  inputs: ({ B, H, W, C }, random) => ({ x: random([B, H, W, C]), gate: random([B, C]) }),
  run: ({ x, gate }, { gelu }) => channelScale(x!, gate!, gelu ? { activation: "gelu" } : {}),
  reference: ({ x, gate }, c) => channelScaleRef(x!, gate!, c),
  tolerance: { f32: 1e-12, f16: 1e-6 },
  bytes: ({ B, H, W, C }, element) => 2 * B * H * W * C * element,
});
