import type { ChoiceTable } from "./choices.ts";
import type { AdapterSummary } from "./device.ts";

/** Choices measured by `bench/tune.mts` on adapters that many share, to be extended by measurement only. */
const TUNED: readonly { readonly adapter: RegExp; readonly table: ChoiceTable }[] = [];

/** The committed choices for an adapter, if there are any. */
export const tableFor = ({ vendor, architecture, description }: AdapterSummary): ChoiceTable =>
  TUNED.find(({ adapter }) => adapter.test(`${vendor} ${architecture} ${description}`))?.table ?? {};
