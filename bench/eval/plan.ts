/** How long will a run take, cell by cell, and what of it fits into the budget? Pure; nothing is run. */
import { type Cell, cellsOf, keyOf } from "./cells.ts";
import type { EvalOptions } from "./options.ts";
import { exclusiveTimes, UNKNOWN_NS } from "./run.ts";
import { Budget, windowOf } from "./schedule.ts";
import type { RawCell } from "./store.ts";

/** Ahead of the first cell: probes of five baselines, those of two processes and of MPS among them. */
const PROBES_MS = 25_000;
/** The micro-benchmark, behind the last cell. */
export const PREEMPTION_MS = 90_000;

export interface PlannedCell {
  cell: Cell;
  windowMs: number;
  /** With processes, loading, warming up. */
  expectedMs: number;
  /** From the run's beginning. */
  endMs: number;
  isDone: boolean;
  /** Within the budget. */
  fits: boolean;
}

export interface Plan {
  cells: PlannedCell[];
  /** Of all that is not done. */
  totalMs: number;
}

/** `done`: of the run's folder; times that they took are believed, others are usual ones. `planned`: done by then, by key. */
export function planOf(
  options: EvalOptions,
  done: readonly RawCell[],
  planned: ReadonlySet<string> = new Set(),
): Plan {
  const { backend, requests, matrix, budgetMs, preemption } = options;
  const budget = new Budget(backend, budgetMs, 0);
  for (const { cell, windowNs, tookMs } of done) budget.took(cell.system, windowNs, tookMs);
  const exclusiveNs = exclusiveTimes(done);
  const keys = new Set([...done.map(({ cell }) => keyOf(cell)), ...planned]);
  let atMs = backend === "cuda" && keys.size === 0 ? PROBES_MS : 0;
  const cells = cellsOf(matrix).map((cell): PlannedCell => {
    const windowNs = windowOf(cell, requests, exclusiveNs.get(cell.critical) ?? UNKNOWN_NS, backend);
    const isDone = keys.has(keyOf(cell));
    const expectedMs = isDone ? 0 : budget.plannedMs(cell.system, windowNs);
    atMs += expectedMs;
    const fits = isDone || budgetMs === undefined || atMs <= budgetMs;
    return { cell, windowMs: windowNs / 1e6, expectedMs, endMs: atMs, isDone, fits };
  });
  return { cells, totalMs: atMs + (preemption ? PREEMPTION_MS : 0) };
}

/** A line for each cell, or for each round if they are not wanted, and one for all. */
export function planText({ cells, totalMs }: Plan, options: EvalOptions, isBrief: boolean): string[] {
  const seconds = (ms: number) => (ms / 1000).toFixed(1).padStart(7);
  const lines = isBrief
    ? []
    : cells.map(({ cell, windowMs, expectedMs, endMs, isDone, fits }) =>
      `${seconds(endMs)} s  ${seconds(expectedMs)} s, window ${seconds(windowMs)} s  ${keyOf(cell)}${
        isDone ? "  is done" : fits ? "" : "  BEYOND THE BUDGET"
      }`
    );
  const left = cells.filter(({ isDone }) => !isDone);
  const beyond = cells.filter(({ fits }) => !fits).length;
  const { budgetMs } = options;
  lines.push(
    `${left.length} cells, ${(totalMs / 60_000).toFixed(1)} minutes expected` +
      (options.preemption ? ", preemption latency included" : "") +
      (budgetMs === undefined ? "" : `, budget ${(budgetMs / 60_000).toFixed(1)}: `) +
      (budgetMs === undefined ? "" : beyond === 0 ? "all of it fits" : `the last ${beyond} cells do not fit`),
  );
  return lines;
}
