/** How is a bundle's bench shown to people, on a terminal? Lines without their newlines. It finds nothing out. */
import { formatBytes, formatDurationNs } from "../quantity.ts";
import { table } from "../summary.ts";
import type { BenchReport, Compared, Comparison, Quantiles, StepBench } from "./report.ts";

/** Above everything that the simulator told. */
export const SIMULATED =
  "SIMULATED: no GPU was used. Times are the manifest's estimates with the simulator's deviations; nothing was measured.";

export function benchLines(report: BenchReport): string[] {
  const { bundle, device, driver, preemptionBoundNs, simulated, unit, steps, notes } = report;
  return [
    `${bundle} on ${device}${driver === "" ? "" : `, driver ${driver}`}`,
    ...(simulated ? [SIMULATED] : []),
    `${units(report)}, preemption bound ${formatDurationNs(preemptionBoundNs)}`,
    "",
    ...table(["unit", "min", "p50", "p90", "p99", "max"], [
      ["as a critical task", ...quantileCells(unit.critical)],
      ["as a background job", ...quantileCells(unit.background)],
    ]),
    ...hostLines(report),
    "",
    ...stepLines(report),
    ...remarks(steps),
    "",
    ...memoryLines(report),
    ...notes.map((note) => `note: ${note}`),
  ];
}

export function comparisonLines(
  { units, steps, onlyNow, onlyThen, notes }: Comparison,
  then: string,
): string[] {
  const row = ({ what, nowNs, thenNs, ratio }: Compared) => [
    what,
    formatDurationNs(nowNs),
    formatDurationNs(thenNs),
    ratio === null ? "" : ratio.toFixed(3),
  ];
  return [
    `against ${then}`,
    ...notes.map((note) => `note: ${note}`),
    ...table(["median", "now", "then", "now / then"], [...units, ...steps].map(row)),
    ...onlyNow.map((what) => `${what} is only here`),
    ...onlyThen.map((what) => `${what} is only there`),
  ];
}

/** `200 units in 5 loads`. */
export function units({ runs, loads }: BenchReport): string {
  return `${count(runs, "unit")} in ${count(loads, "load")}`;
}

export function quantileCells({ minNs, p50Ns, p90Ns, p99Ns, maxNs }: Quantiles): string[] {
  return [minNs, p50Ns, p90Ns, p99Ns, maxNs].map(formatDurationNs);
}

/** `loop`, or `loop 4, block 1` where not all loads chose the same. */
export function levelText({ level, levels }: StepBench): string {
  const chosen = Object.entries(levels);
  return chosen.length === 1 ? level : chosen.map(([one, times]) => `${one} ${times}`).join(", ");
}

/** How long it keeps the GPU: measured, or that it ends by itself before. */
export function holdText({ level, drainNs, keepsBound }: StepBench): string {
  if (drainNs !== null) return `${formatDurationNs(drainNs)}${keepsBound === false ? " !" : ""}`;
  if (keepsBound === null) return "?";
  return keepsBound ? "ends first" : `${level} !`;
}

export function costText({ cost }: StepBench): string {
  return cost === null ? "" : cost.toFixed(3);
}

/** Of all steps together; `null`: not every step was measured. */
export function totalCost(steps: readonly StepBench[]): number | null {
  let [untouchedNs, chosenNs] = [0, 0];
  for (const { untouched, chosen } of steps) {
    if (untouched === null || chosen === null) return null;
    untouchedNs += untouched.p50Ns;
    chosenNs += chosen.p50Ns;
  }
  return untouchedNs > 0 ? chosenNs / untouchedNs : null;
}

function hostLines({ host }: BenchReport): string[] {
  if (host === null) return [];
  const { runs, bestNs, p50Ns, worstNs } = host;
  const [best, p50, worst] = [bestNs, p50Ns, worstNs].map(formatDurationNs);
  return [
    `as the host sees a request, launch to completion: best ${best}, p50 ${p50}, worst ${worst} of ${runs}`,
  ];
}

function stepLines({ steps, simulated }: BenchReport): string[] {
  const shape = ({ grid, block }: StepBench) => [grid?.join(" x ") ?? "", block?.join(" x ") ?? ""];
  const safe = ({ safeLevels }: StepBench) => safeLevels.join(" ");
  if (simulated) {
    return table(
      ["kernel", "grid", "block", "declared", "safe levels", "loaded at"],
      steps.map((step) => [
        step.kernel,
        ...shape(step),
        step.declaredNs === 0 ? "" : formatDurationNs(step.declaredNs),
        safe(step),
        levelText(step),
      ]),
    );
  }
  const times = (quantiles: Quantiles | null, of: (keyof Quantiles)[]) =>
    of.map((key) => quantiles === null ? "?" : formatDurationNs(quantiles[key]));
  const total = totalCost(steps);
  return [
    ...table(
      [
        ...["kernel", "grid", "block", "untouched", "chosen min", "p50", "max", "cost"],
        ...["safe levels", "chosen", "keeps the GPU"],
      ],
      steps.map((step) => [
        step.kernel,
        ...shape(step),
        ...times(step.untouched, ["p50Ns"]),
        ...times(step.chosen, ["minNs", "p50Ns", "maxNs"]),
        ...[costText(step), safe(step), levelText(step), holdText(step)],
      ]),
    ),
    ...(total === null ? [] : [`all steps together, chosen against untouched: ${total.toFixed(3)}`]),
  ];
}

function remarks(steps: readonly StepBench[]): string[] {
  const late = steps.filter(({ keepsBound }) => keepsBound === false)
    .map(({ kernel }) => `!: ${kernel} keeps the GPU longer than the preemption bound`);
  const notes = steps.flatMap(({ kernel, notes }) => notes.map((note) => `${kernel}: ${note}`));
  return [...new Set([...late, ...notes])];
}

function memoryLines({ memory: { critical, background } }: BenchReport): string[] {
  const both = [critical, background];
  const whats = [...new Set(both.flatMap(({ items }) => items.map(({ what }) => what)))];
  const seen = both.every(({ seenBytes }) => seenBytes !== null)
    ? [["seen: free memory fell by", ...both.map(({ seenBytes }) => formatBytes(seenBytes ?? 0))]]
    : [];
  return table(["memory", "as a critical task", "as a background job"], [
    ...whats.map((what) => [
      what,
      ...both.map(({ items }) => formatBytes(items.find((item) => item.what === what)?.sizeBytes ?? 0)),
    ]),
    ["units under way", ...both.map(({ slots }) => formatBytes(slots.sizeBytes))],
    ["while it is tried", ...both.map(({ copyBytes }) => formatBytes(copyBytes))],
    ...seen,
  ]);
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
