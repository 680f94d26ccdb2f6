/** How is a plot drawn as SVG, without a library? Axes, lines, bars, points and a legend. Pure. */

export interface Scale {
  /** Data to pixels. */
  at(value: number): number;
  /** Where labels stand. */
  ticks: readonly number[];
  format(value: number): string;
}

export const WIDTH = 760;
const LEFT = 76;
const TOP = 44;
const FONT = "font-family='system-ui, sans-serif'";

export function linear(low: number, high: number, from: number, to: number, format = trim): Scale {
  const stepRaw = (high - low || 1) / 5;
  const magnitude = 10 ** Math.floor(Math.log10(stepRaw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((one) => one >= stepRaw)!;
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-9); i++) ticks.push(i * step);
  return { at: (value) => from + (value - low) / (high - low || 1) * (to - from), ticks, format };
}

/** Both ends above 0. */
export function logarithmic(low: number, high: number, from: number, to: number, format = trim): Scale {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const span = b - a || 1;
  const factors = span < 1.2 ? [1, 1.5, 2, 3, 5, 7] : span < 3 ? [1, 2, 5] : [1];
  const at = (value: number) => from + (Math.log10(value) - a) / span * (to - from);
  // Less than a factor of three holds too few round powers.
  if (span < 0.5) return { at, ticks: linear(low, high, from, to).ticks, format };
  const ticks: number[] = [];
  for (let power = Math.floor(a); power <= Math.ceil(b); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  return { at, ticks, format };
}

export function trim(value: number): string {
  return String(Number(value.toPrecision(4)));
}

export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    "'",
    "&#39;",
  )
    .replaceAll('"', "&quot;");
}

export interface LegendEntry {
  text: string;
  color: string;
  /** As in a line's `dash`. */
  dash?: string;
}

/** One plot: gathers elements, then gives the text. */
export class Plot {
  readonly left = LEFT;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly #title: string;
  readonly #height: number;
  readonly #parts: string[] = [];

  /** `legend`: a line of its own for every two entries. */
  constructor(title: string, plotHeight = 300, legend: readonly LegendEntry[] = []) {
    const rows = Math.ceil(legend.length / 2);
    this.right = WIDTH - 24;
    this.top = TOP + rows * 18;
    this.bottom = this.top + plotHeight;
    this.#height = this.bottom + 58;
    this.#title = title;
    for (const [i, { text, color, dash }] of legend.entries()) {
      const [x, y] = [LEFT + (i % 2) * 340, TOP + Math.floor(i / 2) * 18];
      this.line([[x, y - 4], [x + 22, y - 4]], color, { width: 3, ...(dash === undefined ? {} : { dash }) });
      this.text(x + 28, y, text, { size: 12 });
    }
  }

  axes(x: Scale, y: Scale, xLabel: string, yLabel: string): void {
    const { left, right, top, bottom } = this;
    for (const tick of x.ticks) {
      const at = x.at(tick);
      this.line([[at, top], [at, bottom]], "#e4e4e4");
      this.text(at, bottom + 16, x.format(tick), { anchor: "middle" });
    }
    for (const tick of y.ticks) {
      const at = y.at(tick);
      this.line([[left, at], [right, at]], "#e4e4e4");
      this.text(left - 6, at + 4, y.format(tick), { anchor: "end" });
    }
    this.line([[left, top], [left, bottom], [right, bottom]], "#555");
    this.text((left + right) / 2, bottom + 38, xLabel, { anchor: "middle", size: 12 });
    this.#parts.push(
      `<text transform='translate(16 ${
        (top + bottom) / 2
      }) rotate(-90)' text-anchor='middle' font-size='12' ${FONT}>${escape(yLabel)}</text>`,
    );
  }

  line(
    points: readonly (readonly [number, number])[],
    color: string,
    { width = 1, dash }: { width?: number; dash?: string } = {},
  ): void {
    const list = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    this.#parts.push(
      `<polyline points='${list}' fill='none' stroke='${color}' stroke-width='${width}'${
        dash === undefined ? "" : ` stroke-dasharray='${dash}'`
      }/>`,
    );
  }

  rect(x: number, y: number, width: number, height: number, color: string, opacity = 1): void {
    this.#parts.push(
      `<rect x='${x.toFixed(2)}' y='${y.toFixed(2)}' width='${Math.max(0.3, width).toFixed(2)}' height='${
        Math.max(0, height).toFixed(2)
      }' fill='${color}' opacity='${opacity}'/>`,
    );
  }

  circle(x: number, y: number, radius: number, color: string): void {
    this.#parts.push(`<circle cx='${x.toFixed(1)}' cy='${y.toFixed(1)}' r='${radius}' fill='${color}'/>`);
  }

  text(
    x: number,
    y: number,
    text: string,
    { anchor = "start", size = 11, color = "#222" }: { anchor?: string; size?: number; color?: string } = {},
  ): void {
    this.#parts.push(
      `<text x='${x.toFixed(1)}' y='${
        y.toFixed(1)
      }' text-anchor='${anchor}' font-size='${size}' fill='${color}' ${FONT}>${escape(text)}</text>`,
    );
  }

  /** `label` says on what it was measured, and stands in the plot itself, so that it cannot be lost. */
  toString(label: string): string {
    return `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 ${WIDTH} ${this.#height}' width='${WIDTH}' height='${this.#height}' role='img'>` +
      `<title>${escape(`${this.#title} (${label})`)}</title>` +
      `<rect width='100%' height='100%' fill='#fff'/>` +
      `<text x='${LEFT}' y='18' font-size='14' font-weight='600' fill='#111' ${FONT}>${
        escape(this.#title)
      }</text>` +
      `<text x='${WIDTH - 8}' y='${this.#height - 2}' text-anchor='end' font-size='9' fill='#777' ${FONT}>${
        escape(label)
      }</text>` +
      this.#parts.join("") + "</svg>\n";
  }
}
