import { type ChoiceTable, GUESS } from "./choices.ts";
import type { AdapterSummary } from "./device.ts";

/** Choices measured by `bench/tune.mts` on adapters that many share, to be extended by measurement only. */
const TUNED: readonly { readonly adapter: RegExp; readonly table: ChoiceTable }[] = [
  {
    adapter: /nvidia-h200/,
    table: {
      "linear f32 f16 rows 1": GUESS,
      "linear f32 f16 rows 2": GUESS,
      "linear f32 f16 rows 4": GUESS,
      "linear f32 f16 rows 8": GUESS,
      "linear f32 f16 rows 64": GUESS,
      "linear f16 f16 rows 64": GUESS,
      "linear_quantized f32 int4 rows 16": "matrix_parts",
      "linear_quantized f32 int4 rows 32": "matrix_parts",
      "linear_quantized f32 int4 rows 64": GUESS,
    },
  },
];

/** The committed choices for an adapter, if there are any. */
export const tableFor = ({ vendor, architecture, device, description }: AdapterSummary): ChoiceTable =>
  TUNED.find(({ adapter }) => adapter.test(`${vendor} ${architecture} ${device} ${description}`))?.table ?? {};
