// @ts-check
/// <reference lib="dom" />
/** Which lines and bars does the page draw beside the timeline? */
import { count, duration } from "./format.js";

/** @type {any} */
const uPlot = /** @type {any} */ (globalThis).uPlot;
const MANY = 200;
const FONT = "12px system-ui, sans-serif";

/** @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * 1, 2 and 5 of each power of ten; of many powers only themselves.
 * @param {number} min
 * @param {number} max
 */
function roundUs(min, max) {
  const found = [];
  for (let power = 1; power <= max; power *= 10) {
    const steps = max / min > MANY ? [power] : [power, 2 * power, 5 * power];
    for (const us of steps) if (us >= min && us <= max) found.push(us);
  }
  return found;
}

/**
 * Round steps from `max` down, about `count` of them.
 * @param {number} min
 * @param {number} max
 * @param {number} count
 */
export function backwards(min, max, count) {
  const rough = (max - min) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((each) => each * unit >= rough * 0.999) ?? 10) * unit;
  const found = [];
  for (let at = max; at >= min - step * 0.001; at -= step) found.unshift(at);
  return found;
}

function axis() {
  return {
    stroke: colour("soft"),
    font: FONT,
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
  };
}

/** Plots as wide as their host, made anew when the colours change. */
class Chart {
  /** @type {any} */
  plot;
  /** @type {any} */
  data;
  #host;
  #height;
  #options;
  #over = new AbortController();
  #resized;

  /**
   * @param {HTMLElement} host
   * @param {number} height
   * @param {() => Record<string, unknown>} options
   * @param {unknown} data
   */
  constructor(host, height, options, data) {
    this.#host = host;
    this.#height = height;
    this.#options = options;
    this.data = data;
    this.#build();
    this.#resized = new ResizeObserver(() => {
      const width = host.clientWidth;
      if (width > 0) this.plot.setSize({ width, height });
    });
    this.#resized.observe(host);
    const { signal } = this.#over;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build(), { signal });
  }

  end() {
    this.#over.abort();
    this.#resized.disconnect();
    this.plot.destroy();
  }

  #build() {
    this.plot?.destroy();
    const size = { width: Math.max(200, this.#host.clientWidth), height: this.#height };
    const common = { legend: { show: false }, cursor: { show: false } };
    this.plot = new uPlot({ ...size, ...common, ...this.#options() }, this.data, this.#host);
  }

  /** @param {unknown} data */
  set(data) {
    this.data = data;
    this.plot.setData(data);
  }
}

/** What fits between two edges of the page; labels need room. */
const STEPS = 5;

/** Edges of the histogram's bars: eight to an octave, from 1 us. */
const PER_OCTAVE = 8;
/** @param {number} ns */
const barOf = (ns) => Math.max(0, Math.floor(Math.log2(ns / 1_000) * PER_OCTAVE));
/** @param {number} bar */
const edgeUs = (bar) => 2 ** (bar / PER_OCTAVE);

/** Response times of one task, with its deadline. */
export class ResponseChart {
  #chart;
  #deadlineUs;

  /**
   * @param {HTMLElement} host
   * @param {number} deadlineNs
   */
  constructor(host, deadlineNs) {
    this.#deadlineUs = deadlineNs / 1_000;
    const values = (/** @type {any} */ _, /** @type {(number | null)[]} */ splits) =>
      splits.map((us) => us === null ? "" : duration(us * 1_000));
    this.#chart = new Chart(host, 150, () => ({
      scales: {
        x: { time: false, distr: 3, log: 10, range: (/** @type {any} */ plot) => this.#range(plot) },
        y: {
          range: (
            /** @type {any} */ _,
            /** @type {number} */ __,
            /** @type {number} */ max,
          ) => [0, Math.max(4, max)],
        },
      },
      axes: [
        {
          ...axis(),
          size: 28,
          values,
          splits: (
            /** @type {any} */ _,
            /** @type {number} */ __,
            /** @type {number} */ min,
            /** @type {number} */ max,
          ) => roundUs(min, max),
          filter: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits,
        },
        {
          ...axis(),
          size: 56,
          values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(count),
        },
      ],
      series: [
        {},
        ...["critical", "bad"].map((name) => ({
          stroke: colour(name),
          fill: colour(name),
          paths: uPlot.paths.bars({ size: [1, 40], gap: 1, align: 1 }),
          points: { show: false },
        })),
      ],
      hooks: { draw: [(/** @type {any} */ plot) => this.#deadline(plot)] },
    }), [[this.#deadlineUs / 10, this.#deadlineUs], [null, null], [null, null]]);
  }

  end() {
    this.#chart.end();
  }

  /** @param {any} plot */
  #range(plot) {
    const [us = []] = plot.data;
    const from = Math.min(us[0] ?? 1, this.#deadlineUs);
    const to = Math.max(us.at(-1) ?? 1, this.#deadlineUs);
    return [Math.max(1, from / 1.5), to * 1.5];
  }

  /** @param {any} plot */
  #deadline(plot) {
    const { ctx, bbox } = plot;
    const at = plot.valToPos(this.#deadlineUs, "x", true);
    ctx.save();
    ctx.fillStyle = colour("bad");
    ctx.fillRect(at, bbox.top, 2 * devicePixelRatio, bbox.height);
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "right";
    ctx.fillText("deadline", at - 6 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
    ctx.restore();
  }

  /** @param {{ upToNs: number, count: number }[]} histogram */
  set(histogram) {
    if (histogram.length === 0) return;
    const bars = histogram.map(({ upToNs }) => barOf(upToNs - 1));
    const [first, last] = [Math.min(...bars), Math.max(...bars)];
    const counts = new Array(last - first + 1).fill(0);
    for (const [index, each] of histogram.entries()) counts[(bars[index] ?? first) - first] += each.count;
    const edges = counts.map((_, index) => edgeUs(first + index));
    // A bar that the deadline cuts holds both; only what is wholly behind it is called late.
    const late = edges.map((us) => us >= this.#deadlineUs);
    const shown = (/** @type {boolean} */ which) =>
      counts.map((each, index) => each > 0 && late[index] === which ? each : null);
    this.#chart.set([edges, shown(false), shown(true)]);
  }
}

const KEPT_S = 300;
const GAP_S = 3;

/** Lines over the last minutes. */
export class HistoryChart {
  #chart;
  #firstNs;

  /**
   * @param {HTMLElement} host
   * @param {{ label: string, colour: string, scale: string }[]} lines
   * @param {Record<string, { unit: string, range?: [number, number], side: number }>} scales
   * @param {number} nowNs
   */
  constructor(host, lines, scales, nowNs) {
    this.#firstNs = nowNs;
    const title = document.createElement("p");
    title.className = "lines";
    for (const [index, { label, colour: name }] of lines.entries()) {
      const item = document.createElement("span");
      item.textContent = label;
      item.style.color = `var(--${name})`;
      item.style.borderBottom = `2px ${index > 0 ? "dashed" : "solid"}`;
      title.append(item);
    }
    host.replaceChildren(title);
    this.#chart = new Chart(host, 150, () => ({
      scales: {
        x: {
          time: false,
          range: (
            /** @type {any} */ _,
            /** @type {number} */ __,
            /** @type {number} */ max,
          ) => [Math.min((max ?? 0) - 30, Math.max(-1, (max ?? 0) - KEPT_S)), max ?? 1],
        },
        ...Object.fromEntries(
          Object.entries(scales).map(([key, { range }]) => [key, range === undefined ? {} : { range }]),
        ),
      },
      axes: [
        {
          ...axis(),
          size: 28,
          splits: (
            /** @type {any} */ _,
            /** @type {number} */ __,
            /** @type {number} */ min,
            /** @type {number} */ max,
          ) => backwards(min, max, STEPS),
          filter: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits,
          values: (/** @type {any} */ plot, /** @type {number[]} */ splits) =>
            splits.map((at) => {
              const behindS = Math.round(plot.scales.x.max - at);
              return behindS <= 0
                ? "now"
                : `-${behindS < 120 ? `${behindS} s` : `${Math.round(behindS / 60)} min`}`;
            }),
        },
        ...Object.entries(scales).map(([scale, { unit, side }]) => ({
          ...axis(),
          scale,
          side,
          size: 56,
          ...(side === 1 ? { grid: { show: false } } : {}),
          values: (/** @type {any} */ _, /** @type {number[]} */ splits) =>
            splits.map((value) => `${value} ${unit}`),
        })),
      ],
      series: [
        {},
        ...lines.map(({ colour: name, scale }, index) => ({
          stroke: colour(name),
          // One that lies upon another lets it be seen.
          ...(index > 0 ? { dash: [6, 5] } : {}),
          width: 2,
          scale,
          points: { show: false },
        })),
      ],
    }), [[0], ...lines.map(() => [null])]);
  }

  end() {
    this.#chart.end();
  }

  /**
   * @param {number} nowNs
   * @param {(number | null)[]} values
   */
  add(nowNs, values) {
    const atS = (nowNs - this.#firstNs) / 1e9;
    const [times, ...lines] = this.#chart.data;
    if (atS <= times.at(-1)) return;
    const from = times.findIndex((/** @type {number} */ time) => time > atS - KEPT_S);
    const since = from < 0 ? times.length : from;
    // No line is drawn over what nobody saw.
    const gap = atS - times.at(-1) > GAP_S ? [atS - GAP_S] : [];
    const next = [[...times.slice(since), ...gap, atS]];
    for (const [index, line] of lines.entries()) {
      next.push([...line.slice(since), ...gap.map(() => null), values[index] ?? null]);
    }
    this.#chart.set(next);
  }
}
