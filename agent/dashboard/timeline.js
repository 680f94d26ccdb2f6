// @ts-check
/// <reference lib="dom" />
/**
 * What did the GPU do in the last seconds? One lane for each task and job.
 *
 * uPlot has the axes, the cursor and the scale of time; the bars are drawn into its canvas. Times are seconds of the engine's
 * clock behind the first that was seen, so that numbers stay small.
 */
import { backwards } from "./charts.js";
import { duration } from "./format.js";

/** @typedef {{ task: string, number: number, outcome: string, arrivalNs: number, launchNs: number, doneNs: number, deadlineNs: number }} Request */
/** @typedef {{ job: string, level: string, beginNs: number, endNs: number, preempted: boolean }} Slice */

const KEPT_NS = 20e9;
/** It throws away what is too old in strokes, not each time. */
const STROKE_NS = 5e9;
const LANE_PX = 34;
const AXIS_PX = 34;
const NARROW_PX = 600;
const DENSE_PX = 14;
/** What happens now reaches the page so much later. */
const BEHIND_NS = 350e6;
const SPANS_NS = [20e6, 50e6, 100e6, 200e6, 500e6, 1e9, 3e9, 6e9, 12e9];
const FIRST_SPAN = SPANS_NS.indexOf(3e9);
export const LEVELS = ["loop", "block", "slice", "whole"];

export class Timeline {
  /** @type {Request[]} */
  #requests = [];
  /** @type {Slice[]} */
  #slices = [];
  /** @type {string[]} */
  #tasks = [];
  /** @type {string[]} */
  #jobs = [];
  #originNs = 0;
  #newestNs = 0;
  #begun = false;
  /** Of the page's clock, in ns, to the engine's. */
  #offsetNs = 0;
  #span = FIRST_SPAN;
  /** @type {number | undefined} */
  #pausedNs;
  /** @type {any} */
  #plot;
  #host;
  /** @type {Record<string, string>} */
  #colours = {};

  /** @param {HTMLElement} host */
  constructor(host) {
    this.#host = host;
    new ResizeObserver(() => this.#resize()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
  }

  get spanNs() {
    return SPANS_NS[this.#span] ?? 3e9;
  }

  get paused() {
    return this.#pausedNs !== undefined;
  }

  /**
   * @param {string[]} tasks
   * @param {string[]} jobs
   * @param {number} nowNs
   */
  begin(tasks, jobs, nowNs) {
    const narrow = this.#host.clientWidth < NARROW_PX;
    if (narrow && !this.#begun) this.#span = Math.min(this.#span, SPANS_NS.indexOf(1e9));
    this.#begun = true;
    this.#tasks = tasks;
    this.#jobs = jobs;
    this.#requests = [];
    this.#slices = [];
    this.#originNs = nowNs - KEPT_NS;
    this.#newestNs = nowNs;
    this.#pausedNs = undefined;
    this.#offsetNs = nowNs - performance.now() * 1e6;
    this.#build();
  }

  /** @param {{ nowNs: number, requests: Request[], slices: Slice[] }} part */
  add({ nowNs, requests, slices }) {
    // The least delay seen is the best estimate; a slow drift is followed.
    const offsetNs = nowNs - performance.now() * 1e6;
    this.#offsetNs = Math.max(offsetNs, this.#offsetNs - 1e5);
    this.#requests.push(...requests);
    this.#slices.push(...slices);
    if (nowNs - this.#newestNs < STROKE_NS) return;
    this.#newestNs = nowNs;
    // What is looked at, and what is new: a page that is left paused overnight does not grow.
    const pausedNs = this.#pausedNs ?? nowNs;
    const kept = (/** @type {number} */ ns) =>
      ns > nowNs - KEPT_NS || ns > pausedNs - KEPT_NS && ns < pausedNs + KEPT_NS;
    this.#requests = this.#requests.filter(({ doneNs }) => kept(doneNs));
    this.#slices = this.#slices.filter(({ endNs }) => kept(endNs));
  }

  /** How many records it holds. */
  get held() {
    return this.#requests.length + this.#slices.length;
  }

  togglePause() {
    this.#pausedNs = this.paused ? undefined : this.#endNs();
  }

  /**
   * Takes the picture along, and pauses it.
   * @param {number} px
   */
  drag(px) {
    const widthPx = (this.#plot?.bbox.width ?? 0) / devicePixelRatio;
    if (widthPx > 0) this.#show(this.#endNs() - px / widthPx * this.spanNs);
  }

  /**
   * There is nothing to be seen of the future.
   * @param {number} endNs
   */
  #show(endNs) {
    this.#pausedNs = Math.min(endNs, performance.now() * 1e6 + this.#offsetNs - BEHIND_NS);
  }

  /** @param {1 | -1} by */
  zoom(by) {
    this.#span = Math.min(SPANS_NS.length - 1, Math.max(0, this.#span + by));
  }

  /** @param {1 | -1} by */
  move(by) {
    if (this.#pausedNs !== undefined) this.#show(this.#pausedNs + by * this.spanNs / 4);
  }

  #endNs() {
    return this.#pausedNs ?? performance.now() * 1e6 + this.#offsetNs - BEHIND_NS;
  }

  draw() {
    const endS = (this.#endNs() - this.#originNs) / 1e9;
    this.#plot?.setScale("x", { min: endS - this.spanNs / 1e9, max: endS });
  }

  /** What it shows, in words. */
  words() {
    const endNs = this.#endNs();
    const seen = this.#requests.filter(({ doneNs }) => doneNs > endNs - this.spanNs && doneNs <= endNs);
    const missed = seen.filter(({ outcome }) => outcome !== "on-time").length;
    const busyNs = this.#slices.reduce(
      (sum, { beginNs, endNs: end }) =>
        sum + Math.max(0, Math.min(end, endNs) - Math.max(beginNs, endNs - this.spanNs)),
      0,
    );
    const share = Math.min(100, Math.round(100 * busyNs / this.spanNs));
    return `In the last ${
      duration(this.spanNs)
    }: ${seen.length} critical requests, ${missed} of them not on time; ` +
      `background had the GPU for ${share} % of it`;
  }

  #resize() {
    const width = this.#host.clientWidth;
    if (width > 0 && this.#plot !== undefined) this.#plot.setSize({ width, height: this.#height() });
  }

  #height() {
    return (this.#tasks.length + this.#jobs.length) * LANE_PX + AXIS_PX;
  }

  #build() {
    const style = getComputedStyle(document.documentElement);
    const names = ["critical", "wait", "bad", "ink", "soft", "line", ...LEVELS];
    this.#colours = Object.fromEntries(
      names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
    );
    const lanes = [...this.#tasks, ...this.#jobs];
    this.#plot?.destroy();
    this.#host.replaceChildren();
    const { soft, line } = this.#colours;
    const label = { stroke: soft, font: "13px system-ui, sans-serif", ticks: { show: false } };
    const uPlot = /** @type {any} */ (globalThis).uPlot;
    const narrow = this.#host.clientWidth < NARROW_PX;
    this.#plot = new uPlot(
      {
        width: Math.max(200, this.#host.clientWidth),
        height: this.#height(),
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: { x: { time: false, auto: false }, y: { range: [0, lanes.length] } },
        series: [{}, { show: true, points: { show: false }, width: 0 }],
        axes: [
          {
            ...label,
            size: AXIS_PX,
            grid: { stroke: line, width: 1 },
            // From now backwards: what moves are the bars, not the lines behind them.
            splits: (
              /** @type {any} */ _,
              /** @type {number} */ __,
              /** @type {number} */ min,
              /** @type {number} */ max,
            ) => backwards(min, max, narrow ? 3 : 6),
            filter: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits,
            values: (/** @type {any} */ plot, /** @type {number[]} */ splits) =>
              splits.map((at) => {
                const behindS = plot.scales.x.max - at;
                if (behindS < 1e-6) return this.paused ? "" : "now";
                return this.spanNs < 1e9 ? `-${duration(behindS * 1e9)}` : `-${Number(behindS.toFixed(2))} s`;
              }),
          },
          {
            ...label,
            size: narrow ? 100 : 170,
            gap: 8,
            grid: { stroke: line, width: 1 },
            splits: () => lanes.map((_, index) => index + 0.5),
            filter: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits,
            values: () => lanes.toReversed().map((name) => shortened(name, narrow ? 11 : 22)),
          },
        ],
        hooks: { draw: [(/** @type {any} */ plot) => this.#bars(plot)] },
      },
      [[0, 1], [null, null]],
      this.#host,
    );
    this.draw();
  }

  /** @param {any} plot */
  #bars(plot) {
    /** @type {CanvasRenderingContext2D} */
    const ctx = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    const { min, max } = plot.scales.x;
    const lanes = this.#tasks.length + this.#jobs.length;
    const laneHeight = height / lanes;
    const perS = width / (max - min);
    const x = (/** @type {number} */ ns) => left + ((ns - this.#originNs) / 1e9 - min) * perS;
    const seen = (/** @type {number} */ from, /** @type {number} */ to) =>
      x(to) >= left && x(from) <= left + width;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    // A bar is never thinner than what the eye finds.
    const least = 1.5 * devicePixelRatio;
    const bar = (
      /** @type {string} */ colour,
      /** @type {number} */ lane,
      /** @type {number} */ fromNs,
      /** @type {number} */ toNs,
      /** @type {number} */ inset,
    ) => {
      ctx.fillStyle = this.#colours[colour] ?? "";
      const from = x(fromNs);
      const y = top + lane * laneHeight + laneHeight * inset;
      ctx.fillRect(from, y, Math.max(least, x(toNs) - from), laneHeight * (1 - 2 * inset));
    };
    /** Of each job, how far it is drawn: what ends in the same pixel would not be seen. @type {Map<string, number>} */
    const drawn = new Map();
    for (const { job, level, beginNs, endNs } of this.#slices) {
      if (!seen(beginNs, endNs)) continue;
      const to = x(endNs);
      if (to - (drawn.get(job) ?? -Infinity) < 0.5) continue;
      drawn.set(job, to);
      bar(level, this.#tasks.length + this.#jobs.indexOf(job), beginNs, endNs, 0.22);
    }
    const shown = this.#requests.filter(({ arrivalNs, deadlineNs }) => seen(arrivalNs, deadlineNs)).length;
    const dense = shown * DENSE_PX * devicePixelRatio > width * this.#tasks.length;
    for (const { task, outcome, arrivalNs, launchNs, doneNs, deadlineNs } of this.#requests) {
      if (!seen(arrivalNs, Math.max(doneNs, deadlineNs))) continue;
      const lane = this.#tasks.indexOf(task);
      const late = outcome !== "on-time";
      if (launchNs > 0) {
        bar("wait", lane, arrivalNs, launchNs, 0.3);
        bar(late ? "bad" : "critical", lane, launchNs, doneNs, 0.12);
      } else bar("bad", lane, arrivalNs, doneNs, 0.12);
      // The deadline: a post. Where requests are dense only of those that passed it, or it would be all that is seen.
      if (!late && dense) continue;
      ctx.fillStyle = this.#colours[late ? "bad" : "ink"] ?? "";
      const y = top + lane * laneHeight;
      ctx.fillRect(x(deadlineNs), y + laneHeight * 0.06, devicePixelRatio, laneHeight * 0.88);
    }
    ctx.restore();
  }
}

/**
 * @param {string} name
 * @param {number} most
 */
function shortened(name, most) {
  return name.length <= most ? name : `${name.slice(0, most - 1)}\u2026`;
}
