/**
 * Least squares, in relative errors, of `ms = a·T + b·T²` with a, b ≥ 0: a prompt's linear layers and its attention.
 *
 * @param points at least one; from a single one growth is taken as linear
 */
export function fitGrowth(points: readonly (readonly [tokens: number, ms: number])[]): (tokens: number) => number {
  // Divided by ms, each point asks for a·u + b·v = 1.
  const rows = points.map(([tokens, ms]) => [tokens / ms, tokens ** 2 / ms] as const);
  const sum = (of: (row: readonly [number, number]) => number): number => rows.reduce((s, row) => s + of(row), 0);
  const [uu, uv, vv] = [sum(([u]) => u * u), sum(([u, v]) => u * v), sum(([, v]) => v * v)];
  const [u1, v1] = [sum(([u]) => u), sum(([, v]) => v)];
  const determinant = uu * vv - uv * uv;
  let [a, b] = [(u1 * vv - v1 * uv) / determinant, (v1 * uu - u1 * uv) / determinant];
  // Noise can bend the curve the wrong way; then one term alone fits best.
  if (points.length < 2 || b < 0) [a, b] = [u1 / uu, 0];
  else if (a < 0) [a, b] = [0, v1 / vv];
  return (tokens) => a * tokens + b * tokens ** 2;
}
