/** Which pictures show what was measured? Each from the summary or the raw samples; pure. */
import { type System, SYSTEM_TEXT } from "./cells.ts";
import type { PreemptionRow } from "./claims.ts";
import type { RawCell } from "./store.ts";
import { type Interval, medianOf, percentile, type Span } from "./statistics.ts";
import { criticalSpans, type Group, overRounds, ratioToReference, systemOf } from "./summary.ts";
import { linear, logarithmic, Plot, trim } from "./svg.ts";

export const COLORS: Record<System, string> = {
  ...{ exclusive: "#111111", "calypte-alone": "#666666", streams: "#8c564b", priorities: "#ff7f0e" },
  ...{ green: "#2ca02c", timeslice: "#9467bd", mps: "#d62728", gating: "#17a2a2" },
  ...{ "calypte-anticipated": "#0057d9", calypte: "#6ba3f5", "calypte-isolated": "#00388c" },
  ...{ "calypte-block": "#b58900", "calypte-unlearned": "#e377c2" },
};
const DASHES: Partial<Record<System, string>> = {
  ...{
    exclusive: "6 3",
    "calypte-alone": "6 3",
    calypte: "3 2",
    "calypte-block": "2 2",
    "calypte-unlearned": "5 2",
  },
};
const DEADLINE = "#c00000";
const RESPONSE = "scheduled arrival to output in host-visible memory";

/** What ratios are against: on the simulator there is nothing else. */
function referenceText({ reference }: Group): string {
  return reference === "exclusive" ? "exclusive use" : SYSTEM_TEXT[reference];
}

function titleOf({ critical, background, arrivals }: Group): string {
  return `${critical} (${arrivals}) beside ${background}`;
}

function legendOf(systems: readonly { system: System }[]) {
  return systems.map(({ system }) => ({
    ...{ text: SYSTEM_TEXT[system], color: COLORS[system] },
    ...(DASHES[system] === undefined ? {} : { dash: DASHES[system] }),
  }));
}

/** Share of requests that were answered within a time; the gap to 1 is what was never answered. */
export function responseCdf(group: Group): Plot {
  const plot = new Plot(`Response times: ${titleOf(group)}`, 320, legendOf(group.systems));
  const all = group.systems.flatMap(({ responsesNs }) => responsesNs.filter(Number.isFinite));
  const limits = [group.limitNs, ...all];
  const low = limits.reduce((a, b) => Math.min(a, b)) / 1000,
    high = limits.reduce((a, b) => Math.max(a, b)) / 1000;
  const x = logarithmic(low * 0.95, Math.max(high, low * 1.5) * 1.05, plot.left, plot.right);
  const y = linear(0, 1, plot.bottom, plot.top);
  plot.axes(x, y, `${RESPONSE}, us (log scale)`, "share of all requests answered by then");
  for (const { system, responsesNs } of group.systems) {
    const sorted = responsesNs.filter(Number.isFinite).toSorted((a, b) => a - b);
    if (sorted.length === 0) continue;
    // Every sample where there are few, else some hundred steps, the tail complete.
    const stride = Math.max(1, Math.floor(sorted.length / 400));
    const points: [number, number][] = [[x.at(sorted[0]! / 1000), y.at(0)]];
    for (const [i, ns] of sorted.entries()) {
      if (i % stride === 0 || i > sorted.length * 0.98) {
        points.push([x.at(ns / 1000), y.at((i + 1) / responsesNs.length)]);
      }
    }
    points.push([plot.right, points.at(-1)![1]]);
    const dash = DASHES[system];
    plot.line(points, COLORS[system], { width: 2, ...(dash === undefined ? {} : { dash }) });
  }
  drawLimit(plot, group, x.at(group.limitNs / 1000), plot.bottom - 8);
  return plot;
}

function drawLimit(plot: Plot, { limitNs }: Group, x: number, textY: number): void {
  plot.line([[x, plot.top], [x, plot.bottom]], DEADLINE, { width: 1.5 });
  const isRight = x > (plot.left + plot.right) / 2;
  plot.text(x + (isRight ? -4 : 4), textY, `deadline S = ${trim(limitNs / 1000)} us`, {
    ...{ color: DEADLINE, anchor: isRight ? "end" : "start" },
  });
}

/** Share of requests that were not answered within a time: where CDFs of good systems lie on each other, tails differ. */
export function responseTail(group: Group): Plot | undefined {
  const finite = group.systems.flatMap(({ responsesNs }) => responsesNs.filter(Number.isFinite));
  if (finite.length === 0) return undefined;
  const plot = new Plot(`Tails: ${titleOf(group)}`, 320, legendOf(group.systems));
  const most = group.systems.reduce((max, { responsesNs }) => Math.max(max, responsesNs.length), 1);
  const low = finite.reduce((a, b) => Math.min(a, b), group.limitNs) / 1000;
  const high = finite.reduce((a, b) => Math.max(a, b), group.limitNs) / 1000;
  const x = logarithmic(low * 0.95, Math.max(high, low * 1.5) * 1.05, plot.left, plot.right);
  const y = logarithmic(0.7 / most, 1, plot.bottom, plot.top, (share) => `${trim(100 * share)} %`);
  plot.axes(x, y, `${RESPONSE}, us (log scale)`, "requests not answered by then (log scale)");
  for (const { system, responsesNs } of group.systems) {
    const sorted = responsesNs.filter(Number.isFinite).toSorted((a, b) => a - b);
    if (sorted.length === 0) continue;
    const stride = Math.max(1, Math.floor(sorted.length / 400));
    const points: [number, number][] = [];
    for (const [i, ns] of sorted.entries()) {
      const left = 1 - (i + 1) / responsesNs.length;
      const isShown = i % stride === 0 || i > sorted.length * 0.95;
      if (isShown) points.push([x.at(ns / 1000), y.at(Math.max(left, 0.7 / most))]);
    }
    if (sorted.length < responsesNs.length) points.push([plot.right, points.at(-1)![1]]);
    const dash = DASHES[system];
    plot.line(points, COLORS[system], { width: 2, ...(dash === undefined ? {} : { dash }) });
  }
  drawLimit(plot, group, x.at(group.limitNs / 1000), plot.top + 14);
  return plot;
}

/** p99 over that of exclusive use, with 95 % intervals where there are rounds enough. */
export function p99Bars(group: Group): Plot {
  const rows = group.systems.filter(({ system }) => system !== group.reference)
    .map((one) => ({ ...one, ratio: ratioToReference(group, one, ({ p99 }) => p99) }));
  const plot = new Plot(
    `p99 against ${referenceText(group)}: ${titleOf(group)}`,
    Math.max(60, rows.length * 34),
  );
  const finite = rows.flatMap(({ ratio }) => [ratio.median, ratio.low, ratio.high]).filter(Number.isFinite);
  const [least, most] = [Math.min(0.8, ...finite) * 0.95, Math.max(1.2, ...finite) * 1.25];
  const left = plot.left + 190;
  const x = logarithmic(least, most, left, plot.right);
  const one = x.at(1);
  for (const tick of x.ticks) {
    plot.line([[x.at(tick), plot.top], [x.at(tick), plot.bottom]], "#e4e4e4");
    plot.text(x.at(tick), plot.bottom + 16, `${x.format(tick)}x`, { anchor: "middle" });
  }
  plot.text(
    (left + plot.right) / 2,
    plot.bottom + 36,
    `p99 / p99 of ${referenceText(group)}, median of rounds (log scale)`,
    {
      ...{ anchor: "middle", size: 12 },
    },
  );
  for (const [i, { system, ratio }] of rows.entries()) {
    const y = plot.top + i * 34 + 6;
    plot.text(left - 8, y + 15, SYSTEM_TEXT[system], { anchor: "end" });
    if (!Number.isFinite(ratio.median)) {
      plot.text(one + 4, y + 15, "p99 request never answered");
      continue;
    }
    const end = x.at(ratio.median);
    plot.rect(Math.min(one, end), y, Math.max(1, Math.abs(end - one)), 22, COLORS[system], 0.85);
    whisker(plot, ratio, x.at, y + 11);
    const last = Math.max(ratio.median, Number.isFinite(ratio.high) ? ratio.high : ratio.median, 1);
    plot.text(Math.min(plot.right - 34, x.at(last) + 5), y + 15, ratio.median.toFixed(3));
  }
  plot.line([[one, plot.top], [one, plot.bottom]], "#333", { width: 1.5 });
  return plot;
}

function whisker(plot: Plot, { low, high }: Interval, at: (value: number) => number, y: number): void {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return;
  plot.line([[at(low), y], [at(high), y]], "#222", { width: 1.2 });
  for (const end of [low, high]) plot.line([[at(end), y - 4], [at(end), y + 4]], "#222", { width: 1.2 });
}

/** Over groups that differ in the load only; `undefined`: there are none. */
export function attainmentCurve(
  groups: readonly Group[],
  critical: string,
  background: string,
): Plot | undefined {
  const mine = groups.filter((group) =>
    group.critical === critical && group.background === background && group.arrivals.startsWith("load-")
  );
  const loadOf = ({ arrivals }: Group) => Number(arrivals.slice("load-".length));
  const sorted = mine.toSorted((a, b) => loadOf(a) - loadOf(b));
  if (sorted.length < 2) return undefined;
  const systems = [...new Set(sorted.flatMap((group) => group.systems.map(({ system }) => system)))];
  const plot = new Plot(
    `Attainment at S against load: ${critical} beside ${background}`,
    ...[280, legendOf(systems.map((system) => ({ system })))] as const,
  );
  const x = linear(loadOf(sorted[0]!), loadOf(sorted.at(-1)!), plot.left, plot.right);
  const y = linear(0, 100, plot.bottom, plot.top);
  plot.axes(x, y, "critical load, % of what it could do alone (Poisson)", "requests within S, %");
  for (const system of systems) {
    const points = sorted.flatMap((group): [number, number][] => {
      const found = systemOf(group, system);
      const value = found === undefined ? NaN : overRounds(found, ({ attained }) => attained[0]).median;
      return Number.isNaN(value) ? [] : [[x.at(loadOf(group)), y.at(100 * value)]];
    });
    const dash = DASHES[system];
    plot.line(points, COLORS[system], { width: 2, ...(dash === undefined ? {} : { dash }) });
    for (const [px, py] of points) plot.circle(px, py, 3, COLORS[system]);
  }
  return plot;
}

/** Goodput against the p99 ratio: the upper left corner is where one wants to be. */
export function pareto(group: Group): Plot | undefined {
  const points = group.systems.map((one) => ({
    system: one.system,
    ratio: ratioToReference(group, one, ({ p99 }) => p99).median,
    goodput: one.system === group.reference ? 0 : overRounds(one, ({ goodput }) => goodput).median,
  })).filter(({ ratio, goodput }) => Number.isFinite(ratio) && Number.isFinite(goodput));
  if (points.length < 2) return undefined;
  const plot = new Plot(
    `Background gained against critical p99: ${titleOf(group)}`,
    300,
    points.map(({ system }) => ({ text: SYSTEM_TEXT[system], color: COLORS[system] })),
  );
  const x = logarithmic(
    Math.min(0.9, ...points.map(({ ratio }) => ratio * 0.95)),
    Math.max(1.5, ...points.map(({ ratio }) => ratio)) * 1.3,
    ...[plot.left, plot.right] as const,
  );
  const y = linear(0, Math.max(1, ...points.map(({ goodput }) => goodput)) * 100, plot.bottom, plot.top);
  plot.axes(
    x,
    y,
    `p99 / p99 of ${referenceText(group)} (log scale); best: upper left`,
    "background goodput, % of alone on the GPU",
  );
  for (const { system, ratio, goodput } of points) {
    plot.circle(x.at(ratio), y.at(100 * goodput), 6, COLORS[system]);
  }
  return plot;
}

const EXCERPT_NS = 40e6;

/** What was at work when, for some systems of one round. `cells`: of the same group and round. */
export function timeline(cells: readonly RawCell[]): Plot | undefined {
  const shown = cells.filter(({ arrivalsNs }) => arrivalsNs.length > 0);
  if (shown.length === 0) return undefined;
  const first = shown[0]!.arrivalsNs.find((at) => at > 100e6) ?? shown[0]!.arrivalsNs[0]!;
  const window: Span = [first - 2e6, first - 2e6 + EXCERPT_NS];
  const { critical, arrivals } = shown[0]!.cell;
  const background = shown.find(({ cell }) => cell.background !== "none")?.cell.background ?? "nothing";
  const row = 46;
  const plot = new Plot(`Excerpt: ${critical} (${arrivals}) beside ${background}`, shown.length * row, [
    { text: "request at work", color: DEADLINE },
    { text: "background at work (from device or engine times)", color: "#9db8d9" },
  ]);
  const left = plot.left + 150;
  const x = linear(0, EXCERPT_NS / 1e6, left, plot.right);
  for (const tick of x.ticks) {
    plot.line([[x.at(tick), plot.top], [x.at(tick), plot.bottom]], "#e4e4e4");
    plot.text(x.at(tick), plot.bottom + 16, x.format(tick), { anchor: "middle" });
  }
  plot.text((left + plot.right) / 2, plot.bottom + 36, "ms", { anchor: "middle", size: 12 });
  for (const [i, raw] of shown.entries()) {
    const y = plot.top + i * row;
    plot.text(left - 8, y + 24, SYSTEM_TEXT[raw.cell.system], { anchor: "end", size: 10 });
    const draw = (spans: readonly Span[], top: number, height: number, color: string) => {
      for (const [from, to] of spans) {
        const [a, b] = [Math.max(from, window[0]), Math.min(to, window[1])];
        if (b > a) plot.rect(x.at((a - window[0]) / 1e6), top, x.at((b - a) / 1e6) - x.at(0), height, color);
      }
    };
    draw(raw.busy, y + 22, 14, "#9db8d9");
    draw(criticalSpans(raw), y + 6, 14, DEADLINE);
    for (const at of raw.arrivalsNs) {
      if (at < window[0] || at > window[1]) continue;
      const px = x.at((at - window[0]) / 1e6);
      plot.line([[px, y + 2], [px, y + 38]], "#111");
    }
  }
  return plot;
}

/** Added latency against the length of background's blocks; both axes logarithmic, nothing below 0.1 us shown. */
export function preemptionCurve(rows: readonly PreemptionRow[]): Plot | undefined {
  const lines = ["kernel-5us", "chain-60"].flatMap((critical) =>
    (["loop", "block"] as const).map((level, i) => ({
      ...{ critical, level, color: critical === "kernel-5us" ? "#0057d9" : "#d62728" },
      ...(i === 0 ? {} : { dash: "5 3" }),
      rows: rows.filter((row) => row.critical === critical && row.level === level)
        .toSorted((a, b) => a.blockUs - b.blockUs),
    }))
  ).filter((line) => line.rows.length > 0);
  if (lines.length === 0) return undefined;
  const legend = lines.map(({ critical, level, color, dash }) => ({
    ...{ text: `${critical}, level ${level}: p50 thin, p99 bold`, color },
    ...(dash === undefined ? {} : { dash }),
  }));
  const plot = new Plot("Preemption latency against the length of background's blocks", 280, legend);
  const floor = (us: number) => Math.max(0.1, us);
  const lengths = rows.map(({ blockUs }) => blockUs);
  const most = Math.max(20, ...rows.map(({ addedP99Us }) => addedP99Us));
  const x = logarithmic(Math.min(...lengths), Math.max(...lengths), plot.left, plot.right);
  const y = logarithmic(0.1, most * 1.2, plot.bottom, plot.top);
  plot.axes(x, y, "block length, us (log scale)", "added to launch-to-completion, us (log scale)");
  for (const { rows: mine, color, dash } of lines) {
    for (const [of, width] of [["addedP50Us", 1], ["addedP99Us", 2.5]] as const) {
      const points = mine.map((row) => [x.at(row.blockUs), y.at(floor(row[of]))] as const);
      plot.line(points, color, { width, ...(dash === undefined ? {} : { dash }) });
      for (const [px, py] of points) plot.circle(px, py, 2.5, color);
    }
  }
  return plot;
}

/** The line under the plot that decides: requests, misses, worst response, longest run of misses, background gained. */
export function verdictLine(group: Group, system: System): string {
  const found = systemOf(group, system);
  if (found === undefined) return "";
  const sum = (of: "requests" | "misses") => found.rounds.reduce((total, figures) => total + figures[of], 0);
  const worst = percentile(found.responsesNs, 1);
  const goodput = medianOf(found.rounds.map((figures) => figures.goodput));
  return [
    `${sum("requests")} requests`,
    `${sum("misses")} misses of S`,
    Number.isFinite(worst) ? `worst response ${trim(worst / 1000)} us` : "some never answered",
    `longest run of misses ${
      found.rounds.reduce((most, figures) => Math.max(most, figures.longestMissRun), 0)
    }`,
    Number.isNaN(goodput) ? "no background" : `background ${(100 * goodput).toFixed(1)} % of alone`,
  ].join(", ");
}
