// Two kinds of charts as SVG text. Colours tell series apart on white and for the colour-blind (Okabe and Ito).

const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
const FONT = "font-family='Helvetica, Arial, sans-serif' font-size='12'";

export interface Part {
  readonly name: string;
  readonly value: number;
}

export interface Bar {
  readonly label: string;
  /** Stacked, in order. */
  readonly parts: readonly Part[];
  /** Drawn across the bar as a line. */
  readonly mark?: number;
  /** Written behind the bar. */
  readonly note: string;
}

/** Keeps text readable where it crosses lines. */
const HALO = "stroke='white' stroke-width='4' paint-order='stroke'";

const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x='${x.toFixed(1)}' y='${y.toFixed(1)}' ${attributes}>${content.replace(/&/g, "&amp;").replace(/</g, "&lt;")}</text>`;

const line = (x1: number, y1: number, x2: number, y2: number, attributes: string): string =>
  `<line x1='${x1.toFixed(1)}' y1='${y1.toFixed(1)}' x2='${x2.toFixed(1)}' y2='${y2.toFixed(1)}' ${attributes}/>`;

const document = (width: number, height: number, parts: readonly string[]): string =>
  [
    `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 ${width} ${height}' width='${width}' height='${height}' ${FONT}>`,
    `<rect width='${width}' height='${height}' fill='white'/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");

/** Round numbers from 0 to at least `most`, about five of them. */
function ticks(most: number): number[] {
  const raw = Math.max(most, Number.MIN_VALUE) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw)!;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => i * step);
}

const label = (tick: number): string => tick.toLocaleString("en", { maximumSignificantDigits: 6 });

function legend(names: readonly string[], x: number, y: number): string[] {
  let at = x;
  return names.flatMap((name, i) => {
    const left = at;
    at += 28 + 7 * name.length;
    const colour = COLOURS[i % COLOURS.length]!;
    return [
      `<rect x='${left}' y='${y - 9}' width='10' height='10' fill='${colour}'/>`,
      text(left + 15, y, name, "fill='#333'"),
    ];
  });
}

/** Stacked horizontal bars over one axis; parts of one name have one colour. */
export function barChart(options: {
  readonly title: string;
  readonly axis: string;
  readonly bars: readonly Bar[];
  /** What the marks are. */
  readonly mark?: string;
}): string {
  const { title, axis, bars, mark } = options;
  const names = [...new Set(bars.flatMap(({ parts }) => parts.map(({ name }) => name)))];
  const left = 24 + 7 * Math.max(...bars.map(({ label }) => label.length));
  const [width, top, row, plot] = [left + 700, 70, 34, 480];
  const height = top + row * bars.length + 46;
  const scale = ticks(Math.max(...bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0))));
  const x = (value: number): number => left + (value / scale.at(-1)!) * plot;
  const drawn = [text(12, 24, title, "font-size='15' font-weight='bold'"), ...legend(names, 12, 48)];
  if (mark) {
    const at = 12 + names.reduce((sum, name) => sum + 28 + 7 * name.length, 0);
    drawn.push(line(at + 5, 38, at + 5, 50, "stroke='black' stroke-width='2'"), text(at + 15, 48, mark, "fill='#333'"));
  }
  const bottom = top + row * bars.length;
  for (const tick of scale) {
    drawn.push(line(x(tick), top - 6, x(tick), bottom, "stroke='#ddd'"));
    drawn.push(text(x(tick), bottom + 16, label(tick), "text-anchor='middle' fill='#333'"));
  }
  drawn.push(text(left + plot / 2, bottom + 36, axis, "text-anchor='middle'"));
  for (const [i, { label, parts, mark: at, note }] of bars.entries()) {
    const y = top + i * row;
    drawn.push(text(left - 8, y + 16, label, "text-anchor='end'"));
    let sum = 0;
    for (const { name, value } of parts) {
      const [from, to] = [x(sum), x(sum + value)];
      const colour = COLOURS[names.indexOf(name) % COLOURS.length]!;
      drawn.push(
        `<rect x='${from.toFixed(1)}' y='${y}' width='${(to - from).toFixed(1)}' height='22' fill='${colour}'/>`,
      );
      sum += value;
    }
    if (at !== undefined) drawn.push(line(x(at), y - 3, x(at), y + 25, "stroke='black' stroke-width='2'"));
    drawn.push(text(x(sum) + 6, y + 16, note, `fill='#333' ${HALO}`));
  }
  return document(width, height, drawn);
}

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** For what was counted or extrapolated rather than measured. */
  readonly dashed?: boolean;
}

/** Curves over two axes that begin at 0; several charts side by side. */
export function lineCharts(
  title: string,
  charts: readonly {
    readonly title: string;
    readonly x: string;
    readonly y: string;
    readonly series: readonly Series[];
  }[],
): string {
  const [plot, height, left, top, pitch] = [250, 200, 62, 84, 360];
  const drawn = [text(12, 24, title, "font-size='15' font-weight='bold'")];
  for (const [i, chart] of charts.entries()) {
    const x0 = left + i * pitch;
    const all = chart.series.flatMap(({ points }) => points);
    const [xs, ys] = [ticks(Math.max(...all.map(([x]) => x))), ticks(Math.max(...all.map(([, y]) => y)))];
    const x = (value: number): number => x0 + (value / xs.at(-1)!) * plot;
    const y = (value: number): number => top + height - (value / ys.at(-1)!) * height;
    drawn.push(text(x0, 48, chart.title, "font-weight='bold'"));
    for (const tick of xs) {
      drawn.push(text(x(tick), top + height + 16, label(tick), "text-anchor='middle' fill='#333'"));
    }
    for (const tick of ys) {
      drawn.push(line(x0, y(tick), x0 + plot, y(tick), "stroke='#ddd'"));
      drawn.push(text(x0 - 6, y(tick) + 4, label(tick), "text-anchor='end' fill='#333'"));
    }
    drawn.push(text(x0 + plot / 2, top + height + 36, chart.x, "text-anchor='middle'"));
    drawn.push(text(x0 - 46, top - 12, chart.y, "fill='#333'"));
    for (const [s, { name, points, dashed }] of chart.series.entries()) {
      const colour = COLOURS[s % COLOURS.length]!;
      const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ");
      const stroke = `fill='none' stroke='${colour}' stroke-width='2'${dashed ? " stroke-dasharray='5 4'" : ""}`;
      drawn.push(`<polyline points='${path}' ${stroke}/>`);
      if (!dashed) {
        for (const [px, py] of points) {
          drawn.push(`<circle cx='${x(px).toFixed(1)}' cy='${y(py).toFixed(1)}' r='3' fill='${colour}'/>`);
        }
      }
      const key = top + height + 58 + 18 * s;
      drawn.push(line(x0, key - 4, x0 + 24, key - 4, stroke), text(x0 + 32, key, name, "fill='#333'"));
    }
  }
  const keys = Math.max(...charts.map(({ series }) => series.length));
  return document(charts.length * pitch + 12, top + height + 58 + 18 * keys, drawn);
}
