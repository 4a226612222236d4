import type { ChoiceTable } from "./choices.ts";
import type { AdapterSummary } from "./device.ts";

/** Choices measured by `bench/tune.mts` on adapters that many share, to be extended by measurement only. */
const TUNED: readonly { readonly adapter: RegExp; readonly table: ChoiceTable }[] = [
  {
    adapter: /llvmpipe/,
    table: {
      "linear f32 f16 rows 1": "lanes_row",
      "linear f32 f16 rows 2": "lanes",
      "linear f32 f16 rows 4": "lanes",
      "linear f16 f16 rows 64": "lanes_tall",
      "linear_quantized f32 int4 rows 1": "lanes_row",
      "linear_quantized f32 int4 rows 2": "lanes",
      "linear_quantized f32 int4 rows 4": "lanes",
      "linear_quantized f32 int8 rows 1": "lanes_row",
    },
  },
];

/** The committed choices for an adapter, if there are any. */
export const tableFor = ({ vendor, architecture, description }: AdapterSummary): ChoiceTable =>
  TUNED.find(({ adapter }) => adapter.test(`${vendor} ${architecture} ${description}`))?.table ?? {};
