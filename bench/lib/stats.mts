/** What a number was over several runs. */
export interface Spread {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

/** Median and the outer tenths, interpolated between neighbours; NaN without values. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const [low, high] = [sorted[Math.floor(place)] ?? Number.NaN, sorted[Math.ceil(place)] ?? Number.NaN];
    return low + (high - low) * (place - Math.floor(place));
  };
  return { median: at(0.5), p10: at(0.1), p90: at(0.9) };
}

/** Milliseconds before anything is measured: code that has run little is slow, and so is the clock of a GPU that has rested. */
const WARM_MS = 1500;

/** Runs `body` once, and until all is warm; returns what it gave the first time. */
export async function warmUp<Result>(body: () => Promise<Result>): Promise<Result> {
  const started = performance.now();
  const cold = await body();
  while (performance.now() - started < WARM_MS) await body();
  return cold;
}

/** Milliseconds of `runs` runs of `body`, which returns them, once all is warm. */
export async function warmed(body: () => Promise<number>, runs: number): Promise<number[]> {
  await warmUp(body);
  const times: number[] = [];
  for (let i = 0; i < runs; i++) times.push(await body());
  return times;
}

/** The same where `body` is all that counts. */
export const time = (body: () => Promise<unknown>, runs: number): Promise<number[]> =>
  warmed(async () => {
    const started = performance.now();
    await body();
    return performance.now() - started;
  }, runs);

/** Four significant digits without an exponent. */
export function show(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, value >= 100 ? 0 : 3));
}

/** Rows of cells as aligned lines: the first column to the left, numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}
